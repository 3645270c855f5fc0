// "What should the first loss be?": the field on the page of that name. The ranges and words are those of
// vae_tutorial/exercises/first_loss.json, which stands in the page; the arithmetic is that of losses.py beside it, line
// by line, and tests/test_first_loss.py compares the two. A page without the field is left alone.
{
  const DOUBLE = 2.5; // what two mistakes at once cost: more than a rare one
  const within = (value, [low, high]) => low <= value && value <= high;

  // A number for people: three digits and no more below 100, whole above, with commas.
  const shown = (value) => {
    const size = Math.abs(value);
    if (size >= 1e12) return "more than a million million";
    const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
    const rounded = Math.floor(size * 10 ** digits + 0.5);
    const whole = Math.floor(rounded / 10 ** digits);
    const rest = String(rounded % 10 ** digits).padStart(digits, "0");
    const sign = value < 0 && rounded ? "−" : "";
    return sign + String(whole).replace(/\B(?=(\d{3})+$)/g, ",") + (digits ? `.${rest}` : "");
  };

  // Everything that depends on shape, likelihood, batch and latent dimensions; answers with judge(loss).
  const setUp = (rules, [C, H, W], name, B, Z) => {
    const { words } = rules;
    const own = rules.likelihoods[name];
    const spec = own.same ? { ...rules.likelihoods[own.same], ...own } : own;
    const signed = Boolean(spec.signed);
    const D = C * H * W;
    const kl = rules.kl[C === 1 ? "grey" : "colour"].map((part) => Z * part);
    const perImage = ([low, high]) => [low * D + kl[0], high === null ? Infinity : high * D + kl[1]];
    const right = perImage(spec.right);
    const wide = C === 1 && spec.convolution ? perImage(spec.convolution) : right;
    const bit = Math.log(2);
    const factors = { "1/D": 1 / D, B, "1/B": 1 / B, "1/C": 1 / C };
    Object.assign(factors, { "1/HW": 1 / (H * W), "1/log2": 1 / bit, "1/(D log2)": 1 / D / bit });
    const scaled = (limits, rule) => limits.map((limit) => limit * factors[rule.factor]);
    const unsure = spec.unknown ? [spec.unknown] : [];

    const say = (...parts) => {
      const center = (rules.center[spec.same ?? name] ?? 0) * D;
      const values = { D, B, C, lo: right[0], hi: right[1], center };
      let text = parts.join(" ");
      for (const [key, value] of Object.entries(values)) text = text.replaceAll(`{${key}}`, shown(value));
      return text;
    };

    const mayBe = (rule) => {
      const odd = (spec.without ?? []).includes(rule.verdict) || (rule.colours && C === 1);
      return factors[rule.factor] !== 1 && !odd;
    };

    const landmarks = () => {
      const marks = rules.landmarks;
      if (name !== marks.likelihood || String([C, H, W]) !== String(marks.shape)) return [];
      const rows = marks.rows.map((row) => [1, ...row.range, `later_${row.key}`, `${words.later} ${row.says}`]);
      rows.push([3, marks.floor, wide[0], "later", marks.later], [3, 0, marks.floor, "impossible", marks.impossible]);
      return rows.flatMap(([cost, low, high, verdict, says]) => {
        const limits = [Math.max(low, marks.least) / D, high / D];
        const perPixel = [Math.min(cost, 1.5), ...limits, `mean_pixels and ${verdict}`, `${words.per_pixel} ${says}`];
        return [[cost, low, high, verdict, says], perPixel];
      });
    };

    // Every mistake as [cost, low, high, verdict, words], the likelier first among those of one cost: cost 0 is a number
    // that tells more than the range of right ones, 1 is one step, 2 a rare one, then two at once.
    const mistakes = () => {
      const reductions = rules.reductions.filter(mayBe);
      const wrong = spec.wrong.map((rule) => ({ ...rule, range: (C === 1 && rule.grey) || rule.range }));
      const limits = (rule) => (rule.mean ? rule.range : perImage(rule.range)); // some are means over the pixels
      const found = wrong
        .filter((rule) => !rule.mean || D > 1)
        .map((rule) => [rule.cost ?? 1, ...limits(rule), rule.verdict, rule.says]);
      for (const rule of reductions) found.push([signed ? 2 : 1, ...scaled(right, rule), rule.verdict, rule.says]);
      found.push(...landmarks());
      if (signed) return found;
      if (D > 1) {
        const [high, verdict] = [spec.right[1], "mean_pixels_sum_kl"];
        found.push([1, high + kl[1] / D, high + kl[1], verdict, rules[verdict]]);
      }
      const two = (limits, one, other) => {
        const says = `${words.both} ${one.says} ${other.says}`;
        found.push([DOUBLE, ...limits, `${one.verdict} and ${other.verdict}`, says]);
      };
      for (const rule of reductions) {
        found.push([1.5, ...scaled(wide, rule), rule.verdict, rule.says]);
        for (const other of wrong) {
          if (other.cost === undefined) two(scaled(perImage(other.range), rule), other, rule);
        }
      }
      reductions.forEach((rule, at) => {
        for (const other of reductions.slice(at + 1)) {
          if (!rule.of.some((part) => other.of.includes(part))) two(scaled(scaled(right, rule), other), rule, other);
        }
      });
      return found;
    };

    const nameAll = (named, loss) => {
      const says = named.map((one) => one[4]).join(` ${words.or} `);
      const head = named.length > 1 ? [words.either] : [];
      const later = (verdict) => /^(later|mean_pixels and (later|impossible))/.test(verdict);
      const tail = named.every((one) => later(one[3])) ? [] : [words.expect];
      const message = say(...head, says, ...tail).replaceAll("{product}", shown(loss * D));
      return [named.map((one) => one[3]).join(" or "), message];
    };

    const unknown = (loss) => {
      const middle = (right[0] + right[1]) / 2;
      const ratio = signed ? 1 : Math.max(loss / middle, middle / loss);
      const verdict = ratio < 1.5 ? "little" : loss > middle ? "higher" : "lower";
      const message = say(words[signed ? "off" : verdict], words.expect, ...unsure);
      return [verdict, message.replaceAll("{ratio}", shown(ratio))];
    };

    const positive = (loss, most = 2) => {
      const found = mistakes().filter((mistake) => within(loss, mistake.slice(1, 3)));
      const least = Math.min(...found.map((mistake) => mistake[0]));
      const named = found.filter((mistake) => mistake[0] === least).slice(0, least === DOUBLE ? 1 : most);
      if (least === 0) return nameAll(named, loss);
      if (within(loss, right)) {
        const note = C > 1 && spec.colour ? spec.colour : spec.note;
        const otherwise = least === 1 ? [words.fits, named[0][4]] : [];
        return ["right", say(words.right, words.expect, note, ...otherwise)];
      }
      if (least === 1) return nameAll(named, loss);
      if (within(loss, wide)) return ["right", say(words[signed ? "right" : "convolution"], spec.note)];
      return named.length ? nameAll(named, loss) : unknown(loss);
    };

    const judge = (loss) => {
      if (!Number.isFinite(loss)) {
        const verdict = Number.isNaN(loss) ? "nan" : "infinite";
        return [verdict, say(words[verdict], words.expect)];
      }
      if (loss === 0 && !signed) return ["zero", say(words.zero, words.expect)];
      if (loss > 0 || signed) return positive(loss);
      const [verdict, message] = positive(-loss, 1);
      const double = message.includes(words.both); // three things at once are a guess
      const known = !double && !["right", "higher", "lower", "little", "later", "impossible"].includes(verdict);
      const extra = known ? message : say(words.expect, ...unsure);
      return [known ? `sign and ${verdict}` : "sign", `${words.sign} ${extra}`];
    };
    return judge;
  };

  // What was typed, as numbers; otherwise a sentence that says what would do.

  const readShape = (text) => {
    const wanted = "Type the shape as channels, height, width: 1, 28, 28";
    if (text.length > 60 || !/^(?:torch\.size)?[\s()[\]]*\d+(?:[\s,x×*]+\d+){1,2}[\s,()[\]]*$/i.test(text))
      return `${wanted}.`;
    const sizes = text.match(/\d+/g).map(Number);
    if (!sizes.every((size) => size >= 1 && size <= 1e6)) return `${wanted}, each at least 1.`;
    if (sizes.length === 2) return [1, ...sizes];
    const [first, second, third] = sizes;
    if (third <= 4 && Math.min(first, second) > 4) return `Channels come first: ${third}, ${first}, ${second}.`;
    return sizes;
  };

  const readBatch = (text) => {
    const size = /^\s*\d{1,9}\s*$/.test(text) ? Number(text) : 0;
    return size >= 1 ? size : "The batch is a whole number of images, such as 128.";
  };

  const readLoss = (text) => {
    const wanted = "Type the loss as a number, such as 543.4; nan and inf will do too.";
    if (text.length > 100) return wanted;
    const [, typed, unit] = /^(.*?)\s*(nats?|bits?)?(?:\s*(?:\/|per|an)\s*image)?$/.exec(
      text.trim().toLowerCase().replace("−", "-"),
    ) ?? [, ""];
    let plain = typed;
    plain = /^tensor\(([^,)]+)[,)]/.exec(plain)?.[1].trim() ?? plain; // as PyTorch prints it
    if (/^[+-]?nan$/.test(plain)) return NaN;
    if (/^[+-]?inf(inity)?$/.test(plain)) return Infinity;
    if (/^[+-]?[1-9]\d{0,2}([ ,]\d{3})+(\.\d*)?$/.test(plain)) plain = plain.replace(/[ ,]/g, "");
    else plain = plain.replace(/^([+-]?\d*),(\d+)$/, "$1.$2"); // a comma for a point
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(plain)) return wanted;
    if (unit?.startsWith("bit"))
      return `In nats, please: ${typed} bits are ${shown(Number(plain) * Math.log(2))} nats.`;
    return Number(plain);
  };

  const form = document.querySelector("form.first-loss");
  if (form) {
    const rules = JSON.parse(document.getElementById("first-loss-rules").textContent);
    const { shape, likelihood, batch, loss } = form.elements;
    const reply = form.querySelector("output");
    for (const [name, { label }] of Object.entries(rules.likelihoods)) likelihood.add(new Option(label, name));

    const answer = () => {
      if (!loss.value.trim()) return ["", ""];
      const read = { shape: readShape(shape.value), batch: readBatch(batch.value), loss: readLoss(loss.value) };
      for (const [name, value] of Object.entries(read)) {
        form.elements[name].setAttribute("aria-invalid", typeof value === "string");
      }
      const unreadable = Object.values(read).find((value) => typeof value === "string");
      if (unreadable) return ["unreadable", unreadable];
      return setUp(rules, read.shape, likelihood.value, read.batch, 20)(read.loss);
    };
    const show = () => {
      const [verdict, message] = answer();
      reply.dataset.verdict = verdict;
      if (reply.textContent !== message) reply.textContent = message; // the same again is not to be read out again
    };
    let waiting = 0;
    const soon = () => {
      clearTimeout(waiting);
      waiting = setTimeout(show, 350); // not at each key: a screen reader would read out half a number
    };
    form.addEventListener("input", soon);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(waiting);
      show();
    });
    form.judge = (C_H_W, name, value, B, Z) => setUp(rules, C_H_W, rules.same[name] ?? name, B, Z)(value); // for tests
    form.hidden = false;
  }
}
