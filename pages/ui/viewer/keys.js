// Keys of the viewer; they work anywhere on the page except in a text field.

// 0 and Z, not 0 and 1: on the reading page the digits 1 to 5 are the reader's confidence.
const KEYS = {
  0: (viewer) => viewer.fit(),
  z: (viewer) => viewer.zoomTo(1),
  "+": (viewer) => viewer.zoomBy(1.5),
  "=": (viewer) => viewer.zoomBy(1.5),
  "-": (viewer) => viewer.zoomBy(1 / 1.5),
  h: (viewer) => viewer.toggleMap(),
  j: (viewer) => viewer.toggleScope(),
  k: (viewer) => viewer.toggleContour(),
  "[": (viewer) => viewer.setOpacity(settings.opacity - 10),
  "]": (viewer) => viewer.setOpacity(settings.opacity + 10),
  p: (viewer) => viewer.marks.pick("point"),
  t: (viewer) => viewer.marks.pick("box"),
  f: (viewer) => viewer.marks.pick("shape"),
  e: (viewer) => viewer.marks.list.editLast(),
  ArrowLeft: (viewer) => viewer.step(-1),
  ArrowRight: (viewer) => viewer.step(1),
};

// What a key types on a US keyboard where the layout types something else; letters follow from `KeyA` to `KeyZ`.
const PHYSICAL = { Digit0: "0", Minus: "-", Equal: "=", BracketLeft: "[", BracketRight: "]" };

/** Return the name of a key in `KEYS`: what the layout types if that is ASCII, else what its place types on a US keyboard.
 *
 * Never both: the Z of a German keyboard is Z and not the Y of its place. Streamlit names the keys of the page's buttons
 * in the same way.
 */
function nameKey(event) {
  const { key, code } = event;
  if (key.length > 1 && key !== "Dead") return key; // an arrow, Escape, ...
  if (/^[ -~]$/.test(key) || event.getModifierState("AltGraph")) return key.toLowerCase();
  const letter = /^Key([A-Z])$/.exec(code);
  return letter ? letter[1].toLowerCase() : PHYSICAL[code] ?? key;
}

/** Return whether another element needs the key: text fields all, sliders, choices and menus the arrows. */
function belongsElsewhere(event) {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return false;
  const textFields = "textarea, select, input:not([type=radio], [type=checkbox], [type=range], [type=button])";
  const arrowFields = "input[type=radio], input[type=range], [role=slider], [role=radiogroup], [role=tablist], [role=listbox], [role=menu], [role=grid]";
  if (target.isContentEditable || target.closest(textFields)) return true;
  return event.key.startsWith("Arrow") && target.closest(arrowFields) !== null;
}

/** Separate Enter on a tool from Enter that saves the read: one key press must not do both. */
function keepEnterApart(root) {
  root.addEventListener("click", (event) => {
    // After a mouse click (detail 1, not 0) the keys belong to the page again.
    if (event.detail > 0 && root.contains(document.activeElement)) document.activeElement.blur();
  });
  root.addEventListener("keydown", (event) => {
    if (["Enter", " "].includes(event.key) && event.target.closest("button")) event.stopPropagation();
  });
}

// Captured before the page: while a tool is active, Enter marks instead of saving, and arrows move the tissue.
window.addEventListener("keydown", (event) => {
  const marks = active?.root.isConnected ? active.marks : null;
  if (!marks || belongsElsewhere(event)) return;
  const undo = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && nameKey(event) === "z";
  // Once the case is read, the same key signs it off: the page must not have it as well.
  const measures = !event.ctrlKey && !event.altKey && !event.metaKey && nameKey(event) === "l";
  if (undo && marks.sheet?.editable) marks.undo();
  else if (measures && marks.sheet?.editable) marks.pick("line");
  else if (!marks.tool || event.ctrlKey || event.altKey || event.metaKey || !marks.handleKey(event)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

document.addEventListener("keydown", (event) => {
  // On many keyboards [ and ] are typed with AltGr, which some systems report as Ctrl + Alt.
  const combined = (event.ctrlKey || event.altKey || event.metaKey) && !event.getModifierState("AltGraph");
  const act = KEYS[nameKey(event)];
  if (!act || combined || event.defaultPrevented || belongsElsewhere(event) || !active?.root.isConnected) return;
  event.preventDefault();
  act(active);
});
