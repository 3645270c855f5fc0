// Fields for answers: a number to type, or a choice to press. The reply names what is wrong. An answer is kept in this
// browser alone. A page of the book has this script once; in a notebook each `exercises.ask` brings it along.
(() => {
  const KEY = "vae-tutorial-answers";
  const NATS_PER_BIT = Math.LN2;
  const LONGEST = 40; // characters of a number
  const FRACTIONS = { "½": 1 / 2, "⅓": 1 / 3, "⅔": 2 / 3, "¼": 1 / 4, "¾": 3 / 4 };

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // -- What is kept ---------------------------------------------------------------------------------------------------

  const kept = () => {
    try {
      const found = JSON.parse(localStorage.getItem(KEY));
      return found && typeof found === "object" && !Array.isArray(found) ? found : {};
    } catch {
      return {}; // a browser that keeps nothing, or something else under this name
    }
  };
  const keep = (name, answer) => {
    const all = kept();
    if (answer === null) delete all[name];
    else all[name] = answer;
    try {
      localStorage.setItem(KEY, JSON.stringify(all));
    } catch {
      // it holds for this page then
    }
  };

  // -- Numbers --------------------------------------------------------------------------------------------------------

  const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  const NO_NUMBER = "That is no number. Write it as 0.5 or 3/4.";

  // The value of a number with a decimal point, of a fraction, or of "2 1/4"; NaN for anything else.
  function valueOf(bare) {
    const mixed = /^([-+]?)(\d+) (\d+\/\d+)$/.exec(bare);
    if (mixed) return (Number(mixed[2]) + valueOf(mixed[3])) * (mixed[1] === "-" ? -1 : 1);
    const sign = /^([-+]?)(\d*)([½⅓⅔¼¾])$/.exec(bare);
    if (sign) return (Number(sign[2]) + FRACTIONS[sign[3]]) * (sign[1] === "-" ? -1 : 1);
    const parts = bare.split("/");
    if (parts.length > 2 || !parts.every((part) => NUMBER.test(part))) return NaN;
    const [above, below = 1] = parts.map(Number);
    return Math.abs(above / below) <= Number.MAX_VALUE ? above / below : Infinity;
  }

  // How exactly a number is given: digits after the point, or less than 0 for zeros at the end of a whole number.
  function decimalsOf(bare) {
    if (!/^[-+]?\d*\.?\d*$/.test(bare)) return null;
    return bare.includes(".") ? bare.split(".")[1].length : -/0*$/.exec(bare)[0].length;
  }

  // What a reader typed, in the ways in which it can be meant: { values: [{ value, decimals }], unit, share }; or what
  // is the matter with it: { problem }. "1,234" is either.
  function read(text) {
    const typed = text
      .trim()
      .replace(/^[≈~=]\s*/, "")
      .replace(/[−–]/g, "-");
    if (!typed) return { problem: "Type a number." };
    const [, number, words] = /^(.*?[\d.½⅓⅔¼¾])\s*(%?|[a-zµ][a-z/ .]*)$/i.exec(typed) ?? [null, typed, ""];
    const unit = /^(bit|nat)/i.exec(words)?.[1].toLowerCase() ?? "";
    const bare = number.replace(/(?<=\d)[ _'](?=\d{3}(\D|$))/g, "").replace(/\s*\/\s*/, "/");
    const forms = [];
    if (/^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(bare)) forms.push(bare.replaceAll(",", ""));
    if (/^[-+]?\d*,\d+$/.test(bare)) forms.push(bare.replace(",", ".")); // 0,5 as many write it
    if (!bare.includes(",")) forms.push(bare);
    const values = forms.map((form) => ({ value: valueOf(form), decimals: decimalsOf(form) }));
    const finite = values.filter(({ value }) => Number.isFinite(value));
    if (!finite.length) {
      const isNumber = values.length && forms.every((form) => form.split("/").length < 3 && !/[^\d./e+-]/i.test(form));
      return { problem: isNumber && !Number.isNaN(values[0].value) ? "That is no finite number." : NO_NUMBER };
    }
    return { values: finite, unit, share: words === "%" };
  }

  // A count must be exact; anything else to one in a hundred, or to the digits that were given, if there are two.
  const isCount = (entry) => !entry.unit && Number.isInteger(entry.answer) && Math.abs(entry.answer) >= 100;
  const near = (a, b, part = 0.01) => Math.abs(a - b) <= part * Math.abs(b);
  function rounds({ value, decimals }, answer) {
    if (decimals === null) return false;
    const digits = String(Math.round(Math.abs(value) * 10 ** decimals)).length;
    return digits >= 2 && Math.abs(answer - value) <= 0.5000001 * 10 ** -decimals;
  }

  // Whether an answer is right, what to say, and whether it was one at all: [right, reply, isAnswer].
  function judge(entry, text) {
    const typed = read(text);
    if (typed.problem) return [false, typed.problem, false];
    if (typed.unit && ["nats", "bits"].includes(entry.unit) && typed.unit !== entry.unit.slice(0, 3))
      return [false, `Give it in ${entry.unit}. A bit is 0.693 nats.`, false];
    if (typed.share && entry.unit) return [false, `Give it in ${entry.unit}, not in percent.`, false];
    const meant = typed.values.map((one) => (typed.share ? { value: one.value / 100, decimals: null } : one));
    const told = meant.map((one) => judgeOne(entry, one));
    return [...(told.find(([right]) => right) ?? told.find(([, reply]) => reply !== UNKNOWN) ?? told[0]), true];
  }

  const UNKNOWN = "Not this number.";

  function judgeOne(entry, typed) {
    const { value } = typed;
    const answer = entry.answer;
    const count = isCount(entry);
    if (count ? value === answer : near(value, answer)) return [true, "Right."];
    const known = entry.wrong.find(([wrong]) => (count ? value === wrong : near(value, wrong, 0.005)));
    if (known) return [false, known[1]];
    if (!count && rounds(typed, answer)) return [true, "Right, to the digits that you gave."];
    const roughly = entry.wrong.find(([wrong]) => rounds(typed, wrong));
    if (roughly) return [false, roughly[1]];
    const [nats, bits] = [entry.unit === "nats", entry.unit === "bits"];
    const general = [
      [near(-value, answer), "The size is right. Look at the sign."],
      [nats && near(value * NATS_PER_BIT, answer), "Those are bits. A bit is 0.693 nats."],
      [bits && near(value / NATS_PER_BIT, answer), "Those are nats. A nat is 1.44 bits."],
      [nats && near(value * Math.LN10, answer), "That is a logarithm to base 10. Nats take the natural one."],
      [nats && near(value * 784, answer), "That is for one pixel. An image has 784."],
      [!entry.unit && near(value, 100 * answer), "That is in percent. Give it as a share, or add the % sign."],
      [near(value, 2 * answer), "Twice what is asked. Is there a ½ missing?"],
      [near(2 * value, answer), "Half of what is asked. Is there a ½ too many, or one of two parts missing?"],
      [count && near(value, answer, 0.05), "Close, but this is a count: something was left out or added."],
      [near(value, answer, 0.05), "Close, but more than one in a hundred off."],
    ];
    return [false, general.find(([holds]) => holds)?.[1] ?? UNKNOWN];
  }

  // -- Fields ---------------------------------------------------------------------------------------------------------

  let count = 0; // of the fields, for the ids that labels need

  // What a field says and remembers; `where` gets the reply, `mark` the state.
  function teller(name, box, reply, done) {
    const last = name.startsWith("predict-") ? "The text below shows it." : "The solution is folded below.";
    let misses = 0;
    return (given, right, said, isAnswer = true, isNew = true) => {
      misses = right ? 0 : misses + (isNew && isAnswer ? 1 : 0);
      box.dataset.state = right ? "right" : "wrong";
      const more = misses > 2 && !right ? ` ${last}` : "";
      reply.textContent = (right ? "✓ " : "✗ ") + said + more;
      if (isNew && isAnswer) keep(name, { given, right });
      done();
    };
  }

  function numberField(entry, name, done) {
    const id = `answer-${++count}`;
    const input = make("input", { id, type: "text", inputmode: "text", autocomplete: "off", size: 12 });
    input.maxLength = LONGEST;
    const reply = make("output", { for: id, role: "status" });
    const unit = entry.unit ? [make("span", { class: "answer-unit" }, entry.unit)] : [];
    const button = make("button", { type: "submit" }, "Check");
    const line = make("span", { class: "answer-line" }, input, ...unit, button);
    const form = make("form", { class: "answer" }, make("label", { for: id }, entry.ask), line, reply);
    const tell = teller(name, form, reply, done);
    // A notebook takes keys as its own commands, Enter and digits among them.
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter") return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      tell(input.value, ...judge(entry, input.value));
    });
    const before = kept()[name];
    if (typeof before?.given === "string" && before.given) {
      input.value = before.given.slice(0, LONGEST);
      tell(input.value, ...judge(entry, input.value), false);
    }
    return form;
  }

  function choiceField(entry, name, done) {
    const id = `answer-${++count}`;
    const reply = make("output", { role: "status" });
    const isCode = entry.choices.some(([says]) => says.includes("torch."));
    const buttons = entry.choices.map(([says, right, said]) => {
      const button = make(
        "button",
        { type: "button", "aria-pressed": "false" },
        isCode ? make("code", {}, says) : says,
      );
      button.addEventListener("click", () => press(button, says, right, said));
      return button;
    });
    const list = make("span", { class: "answer-choices", role: "group", "aria-labelledby": id }, ...buttons);
    const box = make("div", { class: "answer" }, make("span", { id }, entry.ask), list, reply);
    const tell = teller(name, box, reply, done);
    const press = (pressed, says, right, said, isNew = true) => {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", button === pressed);
        delete button.dataset.state;
      }
      pressed.dataset.state = right ? "right" : "wrong";
      tell(says, right, said, true, isNew);
    };
    const before = entry.choices.findIndex(([says]) => says === kept()[name]?.given);
    if (before >= 0) press(buttons[before], ...entry.choices[before], false);
    return box;
  }

  // -- A page ---------------------------------------------------------------------------------------------------------

  // The line above the exercises, or above the first question: how many are answered, and a way to begin anew.
  function summary(names) {
    const said = make("span", { role: "status" });
    const button = make("button", { type: "button" }, "Forget my answers");
    button.addEventListener("click", () => {
      for (const name of names()) keep(name, null);
      location.reload();
    });
    const line = make("p", { class: "answers-done" }, said, " ", button);
    const show = () => {
      const [all, answers] = [names(), kept()];
      const right = all.filter((name) => answers[name]?.right).length;
      said.textContent = `${right} of ${all.length} answers on this page are right. They are kept in your browser alone.`;
      button.hidden = !all.some((name) => answers[name]);
    };
    return { line, show };
  }

  // The choices of a question before an evening fold their replies, which begin with "Yes" or "No". What was opened is
  // marked, and remembered.
  function rememberChoices() {
    const page = location.pathname.split("/").pop();
    document.querySelectorAll(".admonition.predict").forEach((question, i) => {
      const name = `predict/${page}/${i}`;
      const choices = [...question.querySelectorAll("details")];
      const mark = (choice) => {
        const reply = choice.querySelector(":scope > :not(summary)")?.textContent.trim() ?? "";
        const right = reply.startsWith("Yes");
        if (right || reply.startsWith("No")) choice.dataset.state = right ? "right" : "wrong";
      };
      const before = kept()[name];
      const opened = new Set(Array.isArray(before) ? before : []);
      choices.forEach((choice, k) => {
        if (opened.has(k)) mark(choice);
        choice.addEventListener("toggle", () => {
          if (!choice.open) return;
          mark(choice);
          keep(name, [...opened.add(k)]);
        });
      });
    });
  }

  function start() {
    const names = () => [...document.querySelectorAll(".answers")].flatMap((box) => box.names ?? []);
    let after = () => {};
    const boxes = document.querySelectorAll(".answers:not([data-made])");
    for (const box of boxes) {
      box.dataset.made = "";
      box.dataset.lmSuppressShortcuts = "true"; // JupyterLab's word for: these keys are mine
      const entries = JSON.parse(box.querySelector("script[type='application/json']").textContent);
      box.names = entries.map((_, i) => `${box.dataset.answers}/${i}`);
      const field = (entry, i) => (entry.choices ? choiceField : numberField)(entry, box.names[i], () => after());
      box.append(...entries.map(field));
    }
    const first = document.querySelector("article .answers");
    if (first && !document.querySelector(".answers-done")) {
      const { line, show } = summary(names);
      after = show;
      show();
      const heading = document.querySelector("#exercises > h2");
      if (heading) heading.after(line);
      else (document.querySelector("article h2") ?? first).before(line);
    }
    if (document.querySelector("article.bd-article")) rememberChoices();
  }

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
