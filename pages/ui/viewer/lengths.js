// Lengths on the tissue: the scale bar, how a length is written, and a scale from a known length.

const MOST_BAR = 140; // screen pixels

/** Write a length of so many image pixels in µm or mm; in pixels if the scale is unknown. */
function writeLength(pixels, umPerPx) {
  if (!umPerPx) return `${Math.round(pixels)} px`;
  const um = pixels * umPerPx;
  const number = um >= 999.5 ? um / 1000 : um;
  return `${Number(number.toPrecision(3))} ${um >= 999.5 ? "mm" : "µm"}`;
}

/** Write the name of a mark with its length, if it has one. */
function joinName(name, length) {
  return length ? `${name}: ${length}` : `${name}`;
}

/** Return the distance between the ends of a line, in image pixels. */
function measure(points) {
  const [[left, top], [right, bottom]] = [points[0], points.at(-1)];
  return Math.hypot(right - left, bottom - top);
}

/** Return the largest of 1, 2, 5, 10, 20, 50 ... that is not above a number. */
function roundDown(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].find((step) => step * power <= most) * power;
}

/** Draw the scale bar of an image at a zoom (screen pixels for each of its pixels), or that its scale is unknown. */
function drawScaleBar(root, { um_per_px: umPerPx, scale_words: words }, zoom, canSet) {
  const bar = root.querySelector(".sr-length");
  const [line, text, how] = bar.children;
  bar.hidden = false;
  line.hidden = !umPerPx;
  how.hidden = Boolean(umPerPx) || !canSet;
  const um = umPerPx ? roundDown((MOST_BAR / zoom) * umPerPx) : 0;
  line.style.width = umPerPx ? `${(um / umPerPx) * zoom}px` : "";
  text.textContent = umPerPx ? writeLength(um, 1) : "Scale unknown";
  bar.setAttribute("aria-label", umPerPx ? `Scale bar: ${text.textContent}; ${words}` : "Scale unknown");
}

/** Make the field that takes the true length of a line, in µm; `set` is called with it. */
function makeScaleField(at, set) {
  const field = { type: "number", min: 0, step: "any", placeholder: "Length in µm" };
  const input = Object.assign(document.createElement("input"), field);
  input.setAttribute("aria-label", `Known length of mark ${at + 1} in µm`);
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Set scale" });
  const send = () => { if (Number(input.value) > 0) set(Number(input.value)); };
  button.onclick = send;
  input.onkeydown = (event) => {
    if (!["Enter", "Escape"].includes(event.key)) return;
    event.stopPropagation(); // Enter alone would save the read
    if (event.key === "Enter") send();
    input.blur();
  };
  return [input, button];
}
