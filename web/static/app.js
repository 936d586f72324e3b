// Keeps the page current: on every event from /events it is fetched again, at most once a second, and what changed is patched
// cell by cell. Text that is selected, a field with the cursor, and boxes that are ticked are left alone.
// Without this script the pages reload themselves by <meta http-equiv=refresh>.
(() => {
  "use strict";
  const live = document.getElementById("live");
  // What is said, in the language of the page's frame.
  const words = document.body.dataset;
  const PAUSE = 1000;
  let timer = null;
  let again = false;

  const say = (text, ok) => {
    if (live && live.textContent !== text) live.textContent = text;
    if (live) live.className = ok ? "live on" : "live";
  };

  // Somebody is in the middle of something here.
  const busy = (node) => {
    const active = document.activeElement;
    if (active && active !== document.body && node.contains(active)) return true;
    const chosen = document.getSelection();
    return Boolean(chosen && !chosen.isCollapsed && chosen.rangeCount && chosen.getRangeAt(0).intersectsNode(node));
  };

  // What the person sets stays as the person set it.
  const OWN = { INPUT: ["value", "checked"], DETAILS: ["open"], OPTION: ["selected"], BUTTON: ["hidden"] };

  const attributes = (old, fresh) => {
    const own = OWN[old.nodeName] || [];
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !own.includes(name)) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value && !own.includes(name)) old.setAttribute(name, value);
    }
  };

  const replace = (old, fresh) => {
    if (!busy(old)) old.replaceWith(document.importNode(fresh, true));
  };

  // Rows are told apart by their ids, so that one that comes or goes does not move the others' cells.
  const rows = (old, fresh) => {
    const held = new Map([...old.children].map((child) => [child.id, child]));
    const wanted = new Set([...fresh.children].map((child) => child.id));
    for (const [id, child] of held) if (!wanted.has(id) && !busy(child)) child.remove();
    let at = old.firstElementChild;
    for (const child of [...fresh.children]) {
      const mine = held.get(child.id);
      if (mine && mine.isConnected) {
        patch(mine, child);
        if (mine === at) at = at.nextElementSibling;
        else if (!busy(mine)) old.insertBefore(mine, at);
      } else {
        old.insertBefore(document.importNode(child, true), at);
      }
    }
  };

  const keyed = (node) => node.children.length > 0 && [...node.children].every((child) => child.id);

  const patch = (old, fresh) => {
    if (old.isEqualNode(fresh) || (old.dataset && old.dataset.keep)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) { replace(old, fresh); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (!busy(old.parentNode)) old.data = fresh.data;
      return;
    }
    attributes(old, fresh);
    if (keyed(old) && keyed(fresh)) { rows(old, fresh); return; }
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    if (before.length === after.length) {
      before.forEach((child, n) => patch(child, after[n]));
    } else if (!busy(old)) {
      old.replaceChildren(...after.map((child) => document.importNode(child, true)));
    }
  };

  // A form is replaced only when the machine's state changes, to keep what is being typed.
  const region = (old, fresh) => {
    if (old.dataset.live !== "form") { patch(old, fresh); return; }
    if (old.dataset.state === fresh.dataset.state) return;
    if (busy(old)) say(words.liveChanged, false);
    else old.replaceWith(document.importNode(fresh, true));
  };

  const refresh = async () => {
    try {
      // A form's answer is shown at the form's path; the page itself is elsewhere.
      const page_of = document.querySelector("[data-page]");
      const own = location.pathname.replace(/^(\/machines\/\d+|\/site)\/\w+$/, "$1") + location.search;
      const response = await fetch(page_of ? page_of.dataset.page : own, { credentials: "same-origin", cache: "no-store" });
      if (response.redirected) { location.assign(response.url); return; }
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const old of document.querySelectorAll("[data-live][id]")) {
        const fresh = page.getElementById(old.id);
        if (fresh) region(old, fresh);
      }
      const waiting = /^\(\d+\) /;
      document.title = ((page.title.match(waiting) || [""])[0]) + document.title.replace(waiting, "");
      copies();
    } catch { /* The stream's error handler reports a seed that cannot be reached. */ }
  };

  const soon = () => {
    if (timer !== null) { again = true; return; }
    timer = setTimeout(async () => {
      await refresh();
      timer = null;
      if (again) { again = false; soon(); }
    }, PAUSE);
  };

  // Buttons that copy are shown only where the browser can copy.
  const copies = () => {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("copied-now");
      setTimeout(() => button.classList.remove("copied-now"), 2000);
    } catch { say(words.noCopy, false); }
  });

  // Ticks all boxes of a table.
  for (const table of document.querySelectorAll("table.fleet")) {
    const head = table.querySelector("thead th");
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", words.selectAll);
    all.addEventListener("change", () => {
      for (const box of document.querySelectorAll("table.fleet tbody input[type=checkbox]")) box.checked = all.checked;
    });
    if (!head) continue;
    head.replaceChildren(all);
    head.dataset.keep = "1";
  }

  // Enter in a code of the form for many goes on to the next one; in the last one it sends the form.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches || !event.target.matches("table.many input.code")) return;
    const codes = [...document.querySelectorAll("table.many input.code")];
    const next = codes[codes.indexOf(event.target) + 1];
    if (next) { event.preventDefault(); next.focus(); }
  });

  // Sends this browser's time with the form that sets the seed's clock.
  document.addEventListener("submit", (event) => {
    const field = event.target.querySelector("[data-clock]");
    if (field) field.value = String(Date.now());
  });

  copies();
  const source = new EventSource("/events?after=" + encodeURIComponent(document.body.dataset.event || "0"));
  source.addEventListener("open", () => say(words.liveOn, true));
  source.addEventListener("log", soon);
  source.addEventListener("error", () => say(words.liveOff, false));
  // Relative times change without an event.
  setInterval(soon, 15000);
  // A running job reports its progress without events.
  setInterval(() => { if (document.querySelector("[data-poll]")) soon(); }, 2000);
})();
