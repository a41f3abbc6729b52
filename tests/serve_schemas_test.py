#!/usr/bin/env python3
"""Answers held to JSON schemas: hundreds of schemas made by chance, each asked of the server, each answer looked at by a validator of
other origin (the Python package jsonschema; without it the test is skipped, exit status 77). Also what that costs: the time in masks
beside the time in steps. CADRE_SCHEMAS says how many."""

import concurrent.futures
import json
import os
import random
import sys
import time

from server_process import INSTRUMENTED, Server

try:
    import jsonschema
except ImportError:
    print("skipped: the Python package jsonschema is not installed")
    sys.exit(77)

COUNT = int(os.environ.get("CADRE_SCHEMAS", "40" if INSTRUMENTED else "500"))
AT_ONCE = 8
# Of the draft: the general one knows a time as an older draft had it.
FORMATS_CHECKED = getattr(jsonschema.Draft202012Validator, "FORMAT_CHECKER", None) or jsonschema.draft202012_format_checker
WORDS = ["name", "age", "city", "kind", "size", "note", "tags", "x", "größe", "a b"]
PATTERNS = ["^[a-z]{1,8}$", "^[0-9]{3}-[0-9]{2}$", "^(red|green|blue)$", "^[A-Z][a-z]*$", "^\\d+(\\.\\d+)?$"]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "email"]
SCALARS = ["null", "boolean", "integer", "number", "string"]


class SchemaMaker:
    """Schemas of what the grammar knows, small enough that a base model ends its answers."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def make(self):
        schema = self.object(3)
        if self.random.random() < 0.15:  # a list that contains itself
            schema["$defs"] = {"node": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9},
                                        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
                                        "required": ["v", "next"], "additionalProperties": False}}  # fmt: skip
            schema["properties"]["list"] = {"$ref": "#/$defs/node"}
        return schema

    def any(self, depth):
        r = self.random
        kinds = ["scalar"] * 5 + ["enum", "const", "types"]
        if depth > 0:
            kinds += ["object", "array", "anyOf", "allOf"]
        kind = r.choice(kinds)
        if kind == "scalar":
            return getattr(self, r.choice(SCALARS))()
        if kind == "enum":
            return {"enum": r.sample(["red", 7, None, True, [1, "a"], {"k": 1}, "é\"\\", 1.5], r.randint(1, 4))}
        if kind == "const":
            return {"const": r.choice(["fixed", 0, False, {"a": [1, 2]}])}
        if kind == "types":
            return {"type": r.sample(SCALARS[:-1], 2)}
        if kind == "anyOf":
            return {"anyOf": [self.any(depth - 1) for _ in range(r.randint(2, 3))]}
        if kind == "allOf":
            return {"allOf": [{"type": "integer", "minimum": r.randint(-50, 0)}, {"maximum": r.randint(1, 500)}]}
        return getattr(self, kind)(depth)

    def null(self):
        return {"type": "null"}

    def boolean(self):
        return {"type": "boolean"}

    def integer(self):
        r = self.random
        schema = {"type": "integer"}
        if r.random() < 0.8:
            schema["minimum"] = r.randint(-1000, 100)
            schema[r.choice(["maximum", "exclusiveMaximum"])] = schema["minimum"] + r.randint(1, 5000)
        return schema

    def number(self):
        r = self.random
        low = r.choice([-2.5, 0, 0.25])
        return {"type": "number", r.choice(["minimum", "exclusiveMinimum"]): low, "maximum": low + r.choice([0.5, 3, 100])}

    def string(self):
        r = self.random
        kind = r.randrange(4)
        if kind == 0:
            return {"type": "string", "pattern": r.choice(PATTERNS), "maxLength": 12}
        if kind == 1:
            return {"type": "string", "format": r.choice(FORMATS)}
        low = r.randint(0, 4)
        return {"type": "string", "minLength": low, "maxLength": low + r.randint(0, 20)}

    def object(self, depth):
        r = self.random
        names = r.sample(WORDS, r.randint(1, 4))
        schema = {"type": "object", "properties": {name: self.any(depth - 1) for name in names}, "additionalProperties": False}
        if r.random() < 0.8:
            schema["required"] = r.sample(names, r.randint(0, len(names)))
        if r.random() < 0.1:
            schema |= {"additionalProperties": {"type": "integer", "minimum": 0, "maximum": 99}, "maxProperties": len(names) + 1}
        return schema

    def array(self, depth):
        r = self.random
        low = r.randint(0, 2)
        schema = {"type": "array", "minItems": low, "maxItems": low + r.randint(0, 3), "items": self.any(depth - 1)}
        if r.random() < 0.2:
            schema |= {"prefixItems": [self.any(0)], "maxItems": low + 3}
        return schema


def ask(server, seed):
    schema = SchemaMaker(seed).make()
    status, body, _ = server.ask(
        "/v1/completions",
        {"model": "nano", "prompt": "{", "max_tokens": 900, "temperature": 1, "seed": seed,
         "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}},
        timeout=600,
    )  # fmt: skip
    answer = json.loads(body)
    if status != 200:
        return f"refused: {answer['message']} {json.dumps(schema)}"
    choice = answer["choices"][0]
    if choice["finish_reason"] != "stop":
        return "cut"
    try:
        value = json.loads(choice["text"])
        validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS_CHECKED)
        problems = [error.message for error in validator.iter_errors(value)]
    except ValueError as error:
        problems = [str(error)]
    return f"invalid: {problems} {choice['text']!r} {json.dumps(schema)}" if problems else "valid"


def main():
    with Server("--parallel", AT_ONCE, "--queue", 1000) as server:
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(lambda seed: ask(server, seed), range(COUNT)))
        seconds = time.monotonic() - begin
        share = server.metric("cadre_constraint_seconds_total") / server.metric("cadre_step_seconds_total")
        valid, cut = outcomes.count("valid"), outcomes.count("cut")
        print(f"{COUNT} schemas, {valid} answers valid, {cut} cut by max_tokens, {seconds:.1f} s; masks {100 * share:.2f} % of the steps' time")
        wrong = [outcome for outcome in outcomes if outcome not in ("valid", "cut")]
        for outcome in wrong[:10]:
            print(outcome)
        return 1 if wrong or cut > COUNT // 20 else 0


if __name__ == "__main__":
    sys.exit(main())
