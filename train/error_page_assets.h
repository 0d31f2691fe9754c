// Style and behaviour of the error page. A mark says what it is by its sign, its border and its label; colour only
// helps.
#pragma once

namespace bib::error_page_assets {

inline constexpr const char* style = R"css(
:root { --back: #fbfaf8; --card: #fff; --ink: #1d1f23; --soft: #5d636e; --line: #dcd9d2; --right: #e3efe4;
  --right-line: #4b7f52; --wrong: #fde8d7; --wrong-line: #b4490b; --strong: #27588f; }
@media (prefers-color-scheme: dark) { :root { --back: #17181b; --card: #202226; --ink: #e9e7e3; --soft: #a3a7ae;
  --line: #3b3e45; --right: #21372a; --right-line: #7fbf8b; --wrong: #46291a; --wrong-line: #f0975a; --strong: #8db9ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans CJK KR", "Noto Sans KR", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
.soft, figcaption { color: var(--soft); } .soft { font-size: .9rem; }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; list-style: none; }
.figures li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .45rem .9rem; }
.figures b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: normal; }
.wide th:first-child { position: sticky; left: 0; background: var(--back); }
th:first-child, .text { text-align: left; } thead th { color: var(--soft); }
.matrix td { padding: 0; border: 1px solid var(--line); min-width: 2.6rem; }
.matrix td.same { outline: 2px solid var(--right-line); outline-offset: -2px; }
.matrix td span, .matrix button { display: block; width: 100%; padding: .25rem .5rem; text-align: right; }
.matrix button { border: 0; background: none; color: inherit; font: inherit; cursor: pointer; }
.matrix button:hover { text-decoration: underline; }
.matrix button[aria-pressed=true] { outline: 3px solid var(--strong); outline-offset: -3px; font-weight: bold; }
.filters { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem 1.1rem; align-items: center;
  margin: 0 -.5rem; padding: .6rem .5rem; background: var(--back); border-bottom: 1px solid var(--line); }
.filters label { white-space: nowrap; } .filters select, .filters input[type=search] { font: inherit; padding: .15rem .4rem;
  color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .3rem; }
.filters button { font: inherit; padding: .15rem .7rem; color: inherit; background: var(--card); cursor: pointer;
  border: 1px solid var(--line); border-radius: .3rem; }
article { margin: .8rem 0; padding: .7rem 1rem .8rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; overflow-wrap: anywhere; }
article header { display: flex; flex-wrap: wrap; gap: .2rem .7rem; font-size: .85rem; color: var(--soft); }
.kind { white-space: nowrap; color: var(--wrong-line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .8rem; margin: .35rem 0 0; }
dt { color: var(--soft); font-size: .85rem; line-height: 2.1rem; } dd { margin: 0; line-height: 2.1rem; white-space: pre-wrap; }
mark { padding: .1rem .3rem; border-radius: .3rem; color: inherit; background: var(--right);
  border-bottom: 2px solid var(--right-line); -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark.wrong { background: var(--wrong); border: 2px dashed var(--wrong-line); }
mark small { margin-left: .3rem; font-size: .72em; font-weight: bold; white-space: nowrap; color: var(--right-line); }
mark.wrong small { color: var(--wrong-line); }
[hidden] { display: none !important; }
@media print { .filters { position: static; } article { break-inside: avoid; } }
)css";

// A text is shown if one of its mistakes passes every filter. data-e holds "kind,gold,predicted" per mistake, as
// indices.
inline constexpr const char* script = R"js(
'use strict';
const all = selector => Array.from(document.querySelectorAll(selector));
const one = selector => document.querySelector(selector);
const cards = all('article').map(element => ({ element, text: element.querySelector('dl').textContent.toLowerCase(),
  mistakes: element.dataset.e.split(' ').map(e => e.split(',').map(Number)) }));
const kinds = all('input[name=kind]'), label = one('#label'), words = one('#words'), shown = one('#shown');
let cell = null;
function update() {
  const wanted = new Set(kinds.filter(k => k.checked).map(k => Number(k.value)));
  const type = label.value === '' ? -1 : Number(label.value), needle = words.value.toLowerCase();
  const pass = ([kind, gold, predicted]) => wanted.has(kind) && (type < 0 || gold === type || predicted === type) &&
    (cell === null || (gold === cell[0] && predicted === cell[1]));
  let count = 0;
  for (const card of cards) {
    const show = card.text.includes(needle) && card.mistakes.some(pass);
    card.element.hidden = !show;
    count += show;
  }
  shown.textContent = count + ' of ' + cards.length + ' shown';
  for (const button of all('.matrix button')) {
    button.setAttribute('aria-pressed', String(cell !== null && button.dataset.cell === cell.join(',')));
  }
}
for (const button of all('.matrix button')) {
  button.addEventListener('click', () => {
    const value = button.dataset.cell.split(',').map(Number);
    cell = cell !== null && cell.join() === value.join() ? null : value;
    update();
    if (cell !== null) one('.filters').scrollIntoView();
  });
}
for (const input of [...kinds, label, words]) input.addEventListener('input', update);
one('#reset').addEventListener('click', () => {
  cell = null; label.value = ''; words.value = '';
  for (const kind of kinds) kind.checked = true;
  update();
});
one('.filters').hidden = false;
update();
)js";

}  // namespace bib::error_page_assets
