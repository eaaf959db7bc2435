// The list of what is marked: go there, say something of it, take it away.

const KIND_WORDS = { point: "point", box: "box", shape: "shape" };
const NOTE_LIMIT = 200; // characters
const REST_MS = 400; // after the last letter of a note the server is told

class MarkList {
  constructor(marks, root) {
    Object.assign(this, { marks, root, waiting: null });
  }

  draw() {
    // Drawn anew only where something else is shown: the cursor stays in the note that is being typed.
    if (this.shown === this.words()) return;
    this.shown = this.words();
    const { page, others, sheet } = this.marks;
    const named = others.filter((other) => other.regions.length);
    const rows = [...page.regions.map((region, at) => this.row(region, at)), ...named.map((other) => this.othersRow(other))];
    this.root.hidden = !rows.length && !sheet?.editable;
    const nothing = Object.assign(document.createElement("li"), { textContent: "Nothing is marked on the images." });
    this.root.replaceChildren(...(rows.length ? rows : [nothing]));
    this.root.scrollLeft = this.root.scrollWidth; // the newest
  }

  words() {
    const { page, others, sheet, viewer } = this.marks;
    return JSON.stringify([page.regions, others, sheet?.editable, viewer.images.map((image) => image.image_id)]);
  }

  row(region, at) {
    const row = document.createElement("li");
    const words = `${at + 1} ${KIND_WORDS[region.kind]}${this.place(region)}`;
    row.append(this.button(words, `Show mark ${at + 1}`, () => this.goTo(region)));
    if (!this.marks.sheet.editable) {
      row.append(Object.assign(document.createElement("span"), { textContent: region.note }));
      return row;
    }
    row.append(this.noteInput(region, at), this.button("×", `Delete mark ${at + 1}`, () => {
      this.marks.change(this.marks.page.regions.filter((_, other) => other !== at));
    }));
    return row;
  }

  othersRow({ name, regions }) {
    const row = document.createElement("li");
    const notes = regions.map((region) => region.note).filter(Boolean);
    const words = [`${name}: ${regions.length} marked`, ...notes].join(" · ");
    row.append(this.button(words, `Show the marks of ${name}`, () => this.goTo(regions[0])));
    return row;
  }

  place({ image_id: image }) {
    const { images } = this.marks.viewer;
    return images.length < 2 ? "" : ` · image ${images.findIndex((each) => each.image_id === image) + 1}`;
  }

  button(textContent, title, onclick) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent, title, onclick });
    button.setAttribute("aria-label", `${title}: ${textContent}`);
    return button;
  }

  noteInput(region, at) {
    const wishes = { type: "text", value: region.note, maxLength: NOTE_LIMIT, placeholder: "note (optional)" };
    const input = Object.assign(document.createElement("input"), wishes);
    input.setAttribute("aria-label", `Note on mark ${at + 1}`);
    input.oninput = () => {
      const { page } = this.marks;
      page.regions = page.regions.map((each, other) => (other === at ? { ...each, note: input.value } : each));
      this.shown = this.words();
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.flush(), REST_MS);
    };
    input.onblur = () => this.flush();
    input.onkeydown = (event) => {
      // Ctrl+Enter saves the read, with what was typed until then.
      if (event.key === "Enter") this.flush();
      if (event.ctrlKey || event.metaKey || !["Enter", "Escape"].includes(event.key)) return;
      event.stopPropagation();
      input.blur();
    };
    return input;
  }

  flush() {
    if (this.waiting === null) return;
    clearTimeout(this.waiting);
    this.waiting = null;
    this.marks.tell();
  }

  /** Put the cursor into the note of the mark drawn last. */
  editLast() {
    [...this.root.querySelectorAll("input")].at(-1)?.focus();
  }

  /** Bring a mark into the middle, on its image. */
  goTo({ image_id: image, points }) {
    const { viewer } = this.marks;
    const index = viewer.images.findIndex((each) => each.image_id === image);
    const middle = [0, 1].map((axis) => {
      const all = points.map((point) => point[axis]);
      return (Math.min(...all) + Math.max(...all)) / 2;
    });
    const centre = () => viewer.osd.viewport.panTo(viewer.item.imageToViewportCoordinates(...middle)).applyConstraints();
    if (viewer.state.index === index && viewer.item) {
      centre();
      return;
    }
    viewer.osd.addOnceHandler("open", centre);
    viewer.go(index);
  }
}
