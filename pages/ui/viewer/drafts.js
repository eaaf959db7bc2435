// Drafts of forms, stored in this browser tab until the form is saved, and restored after a lost connection.

const ALARM_DELAY_MS = 2000; // shorter interruptions are not shown
const RETRY_MS = 1000;
const MOST_RETRIES = 60; // one minute
const CONNECTED_STATES = ["CONNECTED", "STATIC_CONNECTED"];

const open = new Map(); // form -> the last data from the server, and how to reply
const asked = new Map(); // forms whose draft was returned to this server session -> until when to ask again
const alerts = new Set(); // elements that can show the lost connection; only one does
let alarm = null;

/** Called by Streamlit whenever the server has received new entries. */
export default function mount({ data, parentElement, setTriggerValue }) {
  const alert = parentElement.querySelector("p");
  alerts.add(alert);
  watchConnection();
  forget(data.owner, data.over);
  if (data.form) {
    open.set(data.form, { data, send: setTriggerValue });
    follow(data);
  }
  return () => {
    if (parentElement.isConnected ?? parentElement.host?.isConnected) return;
    alerts.delete(alert);
    if (open.get(data.form)?.data === data) open.delete(data.form); // unless it has been drawn again since
  };
}

/** Store what the server knows, unless a restarted server no longer knows what this tab has stored. */
function follow(data) {
  const left = kept(data, "typed");
  const name = `${data.session} ${data.form}`;
  if (left && left.session !== data.session && !isRestored(data, left.value)) {
    if (!asked.has(name)) {
      asked.set(name, Date.now() + MOST_RETRIES * RETRY_MS);
      requestRestore(data, MOST_RETRIES);
    }
    // What the server refuses for good, such as a subtype of another version, must not stop the storing for ever.
    if (!data.restored || Date.now() < asked.get(name)) return;
  }
  const field = noteField(data.form);
  const typed = field && field === document.activeElement ? { ...data.typed, note: field.value } : data.typed;
  if (left || Object.keys(typed).length) keep(data, "typed", typed);
}

/** Whether the server has everything of a draft again; what was emptied is not among its entries. */
function isRestored(data, value) {
  return data.restored && Object.entries(value).every(([field, entry]) => !entry || field in data.typed);
}

/** Ask the server to restore the draft, and repeat until it has: when two parts of a page send something at the same
 * moment, Streamlit may process only the other one. */
function requestRestore(data, times) {
  const now = open.get(data.form);
  const left = kept(data, "typed");
  if (!left || left.session === data.session || !times) return;
  if (now && (isRestored(now.data, left.value) || now.data.session !== data.session)) return;
  now?.send("left", left.value);
  setTimeout(requestRestore, RETRY_MS, data, times - 1);
}

function noteField(form) {
  return document.querySelector(`.st-key-${CSS.escape(form)}-note textarea`);
}

// Streamlit sends a note when the field loses the focus; until then only this tab knows it.
document.addEventListener("input", (event) => {
  for (const [form, { data }] of open) {
    if (event.target !== noteField(form)) continue;
    const left = kept(data, "typed");
    // What a restarted server does not know yet stays marked so.
    keep({ ...data, session: left?.session ?? data.session }, "typed", { ...left?.value, note: event.target.value });
  }
});

/** Show an alert while the connection is lost. */
function watchConnection() {
  const app = document.querySelector("[data-testid=stApp]");
  if (!app || app === watchConnection.app) return;
  watchConnection.app = app;
  new MutationObserver(() => {
    const connected = CONNECTED_STATES.includes(app.dataset.testConnectionState);
    clearTimeout(alarm);
    if (connected) alerts.forEach((alert) => { alert.hidden = true; });
    else alarm = setTimeout(() => { [...alerts].at(-1).hidden = false; }, ALARM_DELAY_MS);
  }).observe(app, { attributeFilter: ["data-test-connection-state"] });
}
