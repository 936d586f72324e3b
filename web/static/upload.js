// Uploads files in pieces. An interrupted upload resumes at the offset that the seed reports.
(() => {
  "use strict";
  const box = document.querySelector("[data-upload]");
  if (!box) return;
  const PIECE = 4 << 20;
  const TRIES = 8;
  const input = box.querySelector("input[type=file]");
  const line = box.querySelector("[data-said]");
  // What the seed says is in English; the rest is on the page, in its language.
  const say = (text, said) => {
    line.lang = said ? "en" : document.documentElement.lang;
    line.textContent = text;
  };
  const words = (key, what) => box.dataset[key].replace("{}", () => what);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  const ask = async (method, url, body) => {
    const headers = { "X-CSRF-Token": box.dataset.csrf };
    const response = await fetch(url, { method, body, headers, credentials: "same-origin", cache: "no-store" });
    const answer = await response.json().catch(() => ({}));
    return { status: response.status, answer };
  };

  const send = async (file) => {
    const url = box.dataset.upload + encodeURIComponent(file.name);
    let at = null;
    let failed = 0;
    while (at === null || at < file.size) {
      try {
        if (at === null) {
          const held = await ask("GET", url);
          at = held.status === 200 ? held.answer.size : 0;
          if (at > file.size) {
            throw Object.assign(new Error(words("other", file.name)), { final: true });
          }
          if (at === file.size) return;
        }
        const piece = file.slice(at, at + PIECE);
        const { status, answer } = await ask("PUT", `${url}?at=${at}&total=${file.size}`, piece);
        if (status === 409) { at = null; failed += 1; } else if (status !== 200) {
          const said = [answer.error, answer.hint].filter(Boolean).join(": ");
          // Busy for a moment: retry. Anything else is final.
          if (status !== 503 && status !== 429) throw Object.assign(new Error(said || words("status", String(status))), { final: true, said: said !== "" });
          failed += 1;
        } else {
          at = answer.size;
          failed = 0;
          say(`${file.name}: ${Math.floor(at * 100 / file.size)} %`);
        }
      } catch (error) {
        if (error.final) throw error;
        failed += 1;
        at = null;
      }
      if (failed > TRIES) throw new Error(words("silent", file.name));
      if (failed > 0) { say(words("retry", file.name)); await wait(1000 * failed); }
    }
  };

  input.addEventListener("change", async () => {
    input.disabled = true;
    try {
      for (const file of input.files) {
        say(`${file.name}: 0 %`);
        await send(file);
        say(words("done", file.name));
      }
      // Reload: the seed knows which files can be imported.
      location.assign("/site");
    } catch (error) {
      say(error.message, error.said);
    } finally {
      input.disabled = false;
    }
  });
})();
