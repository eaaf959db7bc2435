// Unsaved entries and marks of a reader, stored in this browser tab until they are saved.

// Session storage: for this tab only, and deleted when the tab is closed. It never holds anything of the model.
const KEPT = "second-read/";

/** Return the storage name of one part of a form; with `owner`, the account, readers cannot see others' drafts. */
function keptName(owner, form, part) {
  return `${KEPT}${owner}/${form}/${part}`;
}

/** Store the value of one part of a form; `session` is the server session that has received it. */
function keep({ owner, form, session }, part, value) {
  try {
    sessionStorage.setItem(keptName(owner, form, part), JSON.stringify({ session, value }));
  } catch {
    // Storage is full or blocked: the page still works, but a reload would lose unsaved entries.
  }
}

/** Return what was stored for one part of a form; null if nothing was. */
function kept({ owner, form }, part) {
  try {
    return JSON.parse(sessionStorage.getItem(keptName(owner, form, part)));
  } catch {
    return null;
  }
}

/** Delete what was stored for saved forms, and everything of other readers. */
function forget(owner, forms) {
  const prefixes = forms.map((form) => `${KEPT}${owner}/${form}/`);
  for (const name of Object.keys(sessionStorage).filter((each) => each.startsWith(KEPT))) {
    const isSaved = prefixes.some((prefix) => name.startsWith(prefix));
    if (isSaved || !name.startsWith(`${KEPT}${owner}/`)) sessionStorage.removeItem(name);
  }
}
