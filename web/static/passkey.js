// Passkeys (WebAuthn Level 3). Without this script, or where the browser has none, the password remains.
(() => {
  "use strict";
  const usable = window.PublicKeyCredential && PublicKeyCredential.parseCreationOptionsFromJSON;
  const post = async (url, body, csrf) => {
    const headers = { "Content-Type": "application/json" };
    if (csrf) headers["X-CSRF-Token"] = csrf;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body), headers, credentials: "same-origin", cache: "no-store" });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
      const said = [answer.error, answer.hint].filter(Boolean).join(": ");
      throw Object.assign(new Error(said), { said: said !== "" });
    }
    return answer;
  };
  // A passkey belongs to a name; under an address there is none.
  const at = (name, line) => {
    if (name === location.hostname) return;
    const port = location.port ? ":" + location.port : "";
    throw new Error(line.dataset.elsewhere.replace("{}", `https://${name}${port}/`));
  };
  const on = (id, work) => {
    const button = document.getElementById(id);
    if (!button || !usable) return;
    const line = document.getElementById(id + "-said");
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      line.textContent = "";
      try { await work(button, line); } catch (error) {
        // What the seed says is in English.
        line.lang = error.said ? "en" : document.documentElement.lang;
        line.textContent = error.name === "NotAllowedError" ? line.dataset.none : error.message || line.dataset.silent;
      }
      button.disabled = false;
    });
  };
  on("passkey-login", async (button, line) => {
    const options = await post("/api/v1/login/passkey/begin", {});
    at(options.rpId, line);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const credential = await navigator.credentials.get({ publicKey });
    await post("/api/v1/login/passkey", credential.toJSON());
    location.assign(button.dataset.next);
  });
  on("passkey-create", async (button, line) => {
    const options = JSON.parse(button.dataset.options);
    at(options.rp.id, line);
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    const credential = await navigator.credentials.create({ publicKey });
    await post("/api/v1/passkeys", { name: button.dataset.name, answer: credential.toJSON() }, button.dataset.csrf);
    location.assign("/people");
  });
})();
