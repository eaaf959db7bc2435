// The list of marks: show a mark, write a note on it, delete it.

const KIND_WORDS = { point: "point", box: "box", shape: "shape", line: "length" };
const NOTE_LIMIT = 200; // characters
const NOTE_DELAY_MS = 400; // from the last letter of a note until it is sent to the server

class MarkList {
  constructor(marks, root) {
    Object.assign(this, { marks, root, waiting: null });
  }

  draw() {
    // Drawn again only if the content has changed, so that the cursor stays in the note being typed.
    if (this.drawnContent === this.describe()) return;
    this.drawnContent = this.describe();
    const { page, others, sheet } = this.marks;
    const named = others.filter((other) => other.regions.length);
    const own = page.regions.map((region, at) => this.makeRow(region, at));
    const rows = [...own, ...named.map((other) => this.makeOthersRow(other))];
    this.root.hidden = !rows.length && !sheet?.editable;
    const nothing = Object.assign(document.createElement("li"), { textContent: "No marks yet." });
    this.root.replaceChildren(...(rows.length ? rows : [nothing]));
    this.root.scrollLeft = this.root.scrollWidth; // the newest
  }

  describe() {
    const { page, others, sheet, viewer, canSetScale } = this.marks;
    const images = viewer.images.map((image) => [image.image_id, image.um_per_px, image.scale_is_measured]);
    return JSON.stringify([page.regions, others, sheet?.editable, images, canSetScale]);
  }

  makeRow(region, at) {
    const row = document.createElement("li");
    const words = `${at + 1} ${this.writeKind(region)}${this.writeImage(region)}`;
    row.append(this.makeButton(words, `Show mark ${at + 1}`, () => this.goTo(region)));
    if (!this.marks.sheet.editable) {
      row.append(Object.assign(document.createElement("span"), { textContent: region.note }));
      return row;
    }
    row.append(...this.makeScaleField(region, at), this.makeNoteInput(region, at), this.makeButton("×", `Delete mark ${at + 1}`, () => {
      this.marks.change(this.marks.page.regions.filter((_, other) => other !== at));
    }));
    return row;
  }

  writeKind({ kind, image_id: image, points }) {
    if (kind !== "line") return KIND_WORDS[kind];
    return `${KIND_WORDS[kind]} ${writeLength(measure(points), this.findImage(image)?.um_per_px)}`;
  }

  findImage(id) {
    return this.marks.viewer.images.find((image) => image.image_id === id);
  }

  /** Make the field that sets the scale from a line, on an image whose scale nobody else has stated. */
  makeScaleField({ kind, image_id: id, points }, at) {
    const image = this.findImage(id);
    if (kind !== "line" || !this.marks.canSetScale || !image || (image.um_per_px && !image.scale_is_measured)) return [];
    return makeScaleField(at, (um) => this.marks.setTrigger("scale", { image_id: id, pixels: measure(points), um }));
  }

  makeOthersRow({ name, regions }) {
    const row = document.createElement("li");
    const notes = regions.map((region) => region.note).filter(Boolean);
    const words = [`${name}: ${regions.length} ${regions.length === 1 ? "mark" : "marks"}`, ...notes].join(" · ");
    row.append(this.makeButton(words, `Show the marks of ${name}`, () => this.goTo(regions[0])));
    return row;
  }

  writeImage({ image_id: image }) {
    const { images } = this.marks.viewer;
    return images.length < 2 ? "" : ` · image ${images.findIndex((each) => each.image_id === image) + 1}`;
  }

  makeButton(textContent, title, onclick) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent, title, onclick });
    button.setAttribute("aria-label", `${title}: ${textContent}`);
    return button;
  }

  makeNoteInput(region, at) {
    const settings = { type: "text", value: region.note, maxLength: NOTE_LIMIT, placeholder: "Note (optional)" };
    const input = Object.assign(document.createElement("input"), settings);
    input.setAttribute("aria-label", `Note on mark ${at + 1}`);
    input.oninput = () => {
      const { page } = this.marks;
      page.regions = page.regions.map((each, other) => (other === at ? { ...each, note: input.value } : each));
      this.drawnContent = this.describe();
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.flush(), NOTE_DELAY_MS);
    };
    input.onblur = () => this.flush();
    input.onkeydown = (event) => {
      // Ctrl+Enter saves the read, including the note typed so far.
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
    this.marks.send();
  }

  /** Put the cursor into the note of the last mark. */
  editLast() {
    [...this.root.querySelectorAll("input")].at(-1)?.focus();
  }

  /** Show the image of a mark, with the mark in the middle. */
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
