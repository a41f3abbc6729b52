// One line of each benchmark's files, in the forms in which they are published, as an item. All
// throw Error naming the line and its member. "llm-foundry" is the form of MosaicML's evaluation
// data: {query, choices, gold} or {context, continuation}, whose query is turned into the task's
// own text.
#pragma once

#include "eval/tasks/fields.h"
#include "eval/tasks/item.h"

namespace cadre {

// {subject, question, choices[4], answer: 0-3 or A-D}: also made of the .csv rows.
EvalItem ReadMmlu(const Fields& line);
// {instruction, option_a..option_d, answer: A-D}: Okapi's translations.
EvalItem ReadMultilingualMmlu(const Fields& line);
// {activity_label, ctx_a, ctx_b, endings[4], label} or llm-foundry; also Okapi's translations.
EvalItem ReadHellaSwag(const Fields& line);
// {sentence, option1, option2, answer: 1-2} or llm-foundry {context_options[2], continuation,
// gold}.
EvalItem ReadWinoGrande(const Fields& line);
// {question: {stem, choices[{text, label}]}, answerKey}, {question, choices: {text[], label[]},
// answerKey} or llm-foundry.
EvalItem ReadArc(const Fields& line);
EvalItem ReadOpenBookQa(const Fields& line);
EvalItem ReadCommonsenseQa(const Fields& line);
// {instruction, option_a..option_e, answer: A-E}: Okapi's translations.
EvalItem ReadMultilingualArc(const Fields& line);
// {goal, sol1, sol2, label: 0-1} or llm-foundry.
EvalItem ReadPiqa(const Fields& line);
// {context, question, answerA..answerC, label: 1-3} or llm-foundry.
EvalItem ReadSiqa(const Fields& line);
// {passage, question, answer or label} or llm-foundry.
EvalItem ReadBoolQ(const Fields& line);
// {text} or llm-foundry {context, continuation}.
EvalItem ReadLambada(const Fields& line);
// {question, mc1_targets, mc2_targets}, each {choices[], labels[]} or {answer: 0-1}, or a line or
// row of TruthfulQA.csv: there MC1's set is the best and the incorrect answers, MC2's the correct
// and the incorrect ones.
EvalItem ReadTruthfulQa(const Fields& line);
EvalItem ReadTruthfulQaMc1(const Fields& line);
EvalItem ReadTruthfulQaMc2(const Fields& line);
// {category, context_condition, question_polarity, context, question, ans0..ans2, label,
// answer_info, additional_metadata}
EvalItem ReadBbq(const Fields& line);

// Of tasks whose answers the model writes.
// {Question, Answer: {Aliases[]}}, {question, answer: {aliases[]}} or llm-foundry {context,
// aliases[]}.
EvalItem ReadTriviaQa(const Fields& line);
// {question, answer: "... #### 18"}
EvalItem ReadGsm8k(const Fields& line);
// {problem, solution with a last \boxed{...}, level, type}
EvalItem ReadMath(const Fields& line);
// {question, correct_answers[], incorrect_answers[]}, or a line or row of TruthfulQA.csv.
EvalItem ReadTruthfulQaWritten(const Fields& line);
// {task_id, prompt, entry_point, test}; answers: test, entry_point
EvalItem ReadHumanEval(const Fields& line);
// {task_id, text, test_list[3], test_setup_code} or, of the sanitized file, {task_id, prompt,
// test_list[3], test_imports[]}; answers: what is run behind the program. Its file holds all
// splits: tasks 11 to 510 are the test.
EvalItem ReadMbpp(const Fields& line);
bool IsMbppTest(const Fields& line);

}  // namespace cadre
