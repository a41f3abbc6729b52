#!/usr/bin/env python3
"""What `cmake --install` leaves works where nothing else of the build is: the program, its model, the library, the man page, the
completion. CADRE_BUILD names the build folder, CADRE_SOURCE_DIR the repository."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["CADRE_BUILD"])
SOURCE = pathlib.Path(os.environ["CADRE_SOURCE_DIR"])


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=600, **options)


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="cadre-install-test-")
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.prefix = cls.folder / "prefix"
        done = run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_the_program_finds_its_model(self):
        done = run(self.prefix / "bin" / "cadre", "generate", "nano", "-p", "Once", "-n", "4", cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(done.stdout.strip(), "")

    def test_the_example_builds_against_the_library(self):
        build = self.folder / "example"
        configured = run("cmake", "-S", SOURCE / "examples" / "continue", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.assertEqual(configured.returncode, 0, configured.stderr)
        built = run("cmake", "--build", build)
        self.assertEqual(built.returncode, 0, built.stdout + built.stderr)
        libraries = {**os.environ, "LD_LIBRARY_PATH": ":".join(str(p.parent) for p in self.prefix.rglob("libcadre.so"))}
        done = run(build / "continue", SOURCE / "models" / "nano", "Once upon a time", env=libraries)
        self.assertEqual(done.returncode, 0, done.stderr)
        own = run(self.prefix / "bin" / "cadre", "generate", "nano", "-p", "Once upon a time")
        self.assertIn(done.stdout.strip()[:8], own.stdout + done.stdout)
        self.assertGreater(len(done.stdout), 20)

    def test_headers_compile_alone(self):
        headers = sorted((self.prefix / "include" / "cadre").rglob("*.h"))
        self.assertGreater(len(headers), 40)
        self.assertFalse([h for h in headers if "test" in h.name or h.name.endswith("_inl.h")])

    def test_the_man_page_names_every_command(self):
        page = (self.prefix / "share" / "man" / "man1" / "cadre.1").read_text()
        shown = run(self.prefix / "bin" / "cadre", "--help").stdout
        commands = [line.split()[0] for line in shown.split("Subcommands:")[1].splitlines() if line.startswith("  ") and line.strip()]
        self.assertGreater(len(commands), 5)
        for command in commands:
            self.assertIn(f"\n.B {command}\n", page)

    def test_the_completion_knows_commands_and_options(self):
        if shutil.which("bash") is None:
            self.skipTest("no bash")
        script = self.prefix / "share" / "bash-completion" / "completions" / "cadre"

        def complete(*words):
            line = " ".join(f"'{word}'" for word in ("cadre", *words))
            code = f'source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _cadre; printf "%s\\n" "${{COMPREPLY[@]}}"'
            return run("bash", "-c", code, env={**os.environ, "PATH": f"{self.prefix}/bin:{os.environ['PATH']}"}).stdout.split()

        self.assertEqual(complete("insp"), ["inspect"])
        self.assertIn("generate", complete(""))
        self.assertEqual(complete("generate", "--max"), ["--max-tokens"])

    def test_the_debian_package_holds_it_all(self):
        if shutil.which("dpkg-shlibdeps") is None:
            self.skipTest("no dpkg-dev")
        done = run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", self.folder / "deb")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        package = next((self.folder / "deb").glob("*.deb"))
        listing = run("dpkg-deb", "-c", package).stdout
        for path in ("./usr/bin/cadre", "nano.gguf", "libcadre.so", "man1/cadre.1", "cadre-config.cmake", "include/cadre/engine/open.h"):
            self.assertIn(path, listing)
        depends = run("dpkg-deb", "-f", package, "Depends").stdout
        for library in ("libc6", "libsentencepiece0", "libcurl4"):
            self.assertIn(library, depends)


if __name__ == "__main__":
    unittest.main(verbosity=2)
