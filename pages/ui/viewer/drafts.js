// What is typed in a form, kept in this tab of the browser until it is saved, and put back after a lost connection.

const REST_BEFORE_ALARM_MS = 2000; // a short gap is none of the reader's business
const ASK_AGAIN_MS = 1000;
const MOST_ASKED = 60; // a minute
const NAMES_OF_CONNECTED = ["CONNECTED", "STATIC_CONNECTED"];

const open = new Map(); // form -> what the server said of it last, and how to answer
const asked = new Set(); // forms that were given back to this run of the server
const lines = new Set(); // where it can be said that the connection is lost; once is enough
let alarm = null;

/** Called by Streamlit whenever something was typed that the server has seen. */
export default function mount({ data, parentElement, setTriggerValue }) {
  const line = parentElement.querySelector("p");
  lines.add(line);
  watchConnection();
  forget(data.owner, data.over);
  if (data.form) {
    open.set(data.form, { data, give: setTriggerValue });
    follow(data);
  }
  return () => {
    if (parentElement.isConnected ?? parentElement.host?.isConnected) return;
    lines.delete(line);
    if (open.get(data.form)?.data === data) open.delete(data.form); // not where it was drawn anew meanwhile
  };
}

/** Keep what the server knows, unless it has forgotten what this tab still knows. */
function follow(data) {
  const left = kept(data, "typed");
  const name = `${data.session} ${data.form}`;
  if (left && left.session !== data.session && !data.restored) {
    if (!asked.has(name)) ask(data, MOST_ASKED);
    asked.add(name);
    return;
  }
  const field = noteField(data.form);
  const typed = field && field === document.activeElement ? { ...data.typed, note: field.value } : data.typed;
  if (left || Object.keys(typed).length) keep(data, "typed", typed);
}

/** Ask the server to put back what is left, again until it has: of two parts of a page that send something in the
 * same moment, Streamlit may draw only the other one. */
function ask(data, times) {
  const now = open.get(data.form);
  const left = kept(data, "typed");
  const isAnswered = now && (now.data.restored || now.data.session !== data.session);
  if (isAnswered || !left || left.session === data.session || !times) return;
  now?.give("left", left.value);
  setTimeout(ask, ASK_AGAIN_MS, data, times - 1);
}

function noteField(form) {
  return document.querySelector(`.st-key-${CSS.escape(form)}-note textarea`);
}

// Streamlit tells the server of a note when one leaves its field; until then only this tab knows it.
document.addEventListener("input", (event) => {
  for (const [form, { data }] of open) {
    if (event.target !== noteField(form)) continue;
    keep(data, "typed", { ...kept(data, "typed")?.value, note: event.target.value });
  }
});

/** Say that the connection is lost, as long as it is. */
function watchConnection() {
  const app = document.querySelector("[data-testid=stApp]");
  if (!app || app === watchConnection.app) return;
  watchConnection.app = app;
  new MutationObserver(() => {
    const connected = NAMES_OF_CONNECTED.includes(app.dataset.testConnectionState);
    clearTimeout(alarm);
    if (connected) lines.forEach((line) => { line.hidden = true; });
    else alarm = setTimeout(() => { [...lines].at(-1).hidden = false; }, REST_BEFORE_ALARM_MS);
  }).observe(app, { attributeFilter: ["data-test-connection-state"] });
}
