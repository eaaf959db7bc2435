// What a reader has typed or marked and not saved yet, kept in this tab of the browser until it is saved.

// Of this tab only, and gone when it is closed; never anything of the model.
const KEPT = "second-read/";

/** Name of one part of a form: `owner` is the account, so that nobody finds what another reader typed. */
function keptName(owner, form, part) {
  return `${KEPT}${owner}/${form}/${part}`;
}

/** Keep a value of one part of a form; `session` says which run of the server has seen it. */
function keep({ owner, form, session }, part, value) {
  try {
    sessionStorage.setItem(keptName(owner, form, part), JSON.stringify({ session, value }));
  } catch {
    // A full or forbidden store: the page works as before, only a reload would lose what is typed.
  }
}

/** What was kept of a part of a form; null when nothing was. */
function kept({ owner, form }, part) {
  try {
    return JSON.parse(sessionStorage.getItem(keptName(owner, form, part)));
  } catch {
    return null;
  }
}

/** Forget what was kept of forms that are saved, and all of other readers. */
function forget(owner, forms) {
  const over = forms.map((form) => `${KEPT}${owner}/${form}/`);
  for (const name of Object.keys(sessionStorage).filter((each) => each.startsWith(KEPT))) {
    const saved = over.some((start) => name.startsWith(start));
    if (saved || !name.startsWith(`${KEPT}${owner}/`)) sessionStorage.removeItem(name);
  }
}
