// Keeps the page current: on every event from /events the marked regions are fetched again, at most once a second.
// Without this script the pages reload themselves by <meta http-equiv=refresh>.
(() => {
  "use strict";
  const live = document.getElementById("live");
  const PAUSE = 1000;
  let timer = null;
  let again = false;

  const say = (text, ok) => {
    if (live && live.textContent !== text) live.textContent = text;
    if (live) live.className = ok ? "live on" : "live";
  };

  // A form is replaced only when the machine's state changes, to keep what is being typed.
  const replace = (old, fresh) => {
    if (old.dataset.live === "form" && old.dataset.state === fresh.dataset.state) return;
    if (old.innerHTML === fresh.innerHTML) return;
    const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const next = document.importNode(fresh, true);
    old.replaceWith(next);
    if (focused) {
      for (const link of next.querySelectorAll("a[href]")) {
        if (link.getAttribute("href") === focused) { link.focus({ preventScroll: true }); break; }
      }
    }
  };

  const refresh = async () => {
    try {
      // A form's answer is shown at the form's path; the page itself is elsewhere.
      const page_of = document.querySelector("[data-page]");
      const url = page_of ? page_of.dataset.page : location.pathname.replace(/^(\/machines\/\d+|\/site)\/\w+$/, "$1");
      const response = await fetch(url, { credentials: "same-origin", cache: "no-store" });
      if (response.redirected) { location.assign(response.url); return; }
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const old of document.querySelectorAll("[data-live][id]")) {
        const fresh = page.getElementById(old.id);
        if (fresh) replace(old, fresh);
      }
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

  // Sends this browser's time with the form that sets the seed's clock.
  document.addEventListener("submit", (event) => {
    const field = event.target.querySelector("[data-clock]");
    if (field) field.value = String(Date.now());
  });

  const source = new EventSource("/events?after=" + encodeURIComponent(document.body.dataset.event || "0"));
  source.addEventListener("open", () => say("live", true));
  source.addEventListener("log", soon);
  source.addEventListener("error", () => say("not connected", false));
  // Relative times change without an event.
  setInterval(soon, 15000);
  // A running job reports its progress without events.
  setInterval(() => { if (document.querySelector("[data-poll]")) soon(); }, 2000);
})();
