// Regions that a reader marks on the tissue: tools, mouse and keyboard input, and the marks so far.

const TOOLS = { point: "P", box: "T", shape: "F", line: "L" };
const POINTS = { point: 1, box: 2, line: 2 }; // after which a mark is finished
const HINTS = {
  point: "Point: click, or move the tissue with the arrow keys and press Space at the crosshair. Esc cancels.",
  box: "Box: drag, or click two corners (Space at the crosshair). Esc cancels.",
  shape: "Shape: drag along the outline, or click its corners (Space at the crosshair) and press Enter. Esc cancels.",
  line: "Ruler: drag, or click both ends (Space at the crosshair). Esc cancels.",
};
const PAN = 40; // screen pixels per arrow key, a tenth of that with Shift
const MOST_MARKS = 200; // of one read
const DRAG_FROM = 4; // screen pixels: a shorter movement is a click

const sheets = new Map(); // owner and form -> the marks, and the marks before each change

class Marks {
  constructor(viewer, overlay) {
    Object.assign(this, { viewer, overlay, sheet: null, others: [], tool: null, drawn: [], pointer: null });
    this.pinch = new Pinch(viewer);
    this.page = { regions: [], before: [] };
    this.list = new MarkList(this, viewer.find(".sr-marks"));
    for (const kind of Object.keys(TOOLS)) viewer.find(`[data-mark=${kind}]`).onclick = () => this.pick(kind);
    overlay.addEventListener("pointerdown", (event) => this.press(event));
    overlay.addEventListener("pointermove", (event) => this.move(event));
    overlay.addEventListener("pointerup", (event) => this.release(event));
    overlay.addEventListener("pointercancel", (event) => this.cancel(event));
    // OpenSeadragon must not treat drawing as a pan, a click or a double click; its wheel still zooms.
    for (const name of ["click", "dblclick"]) overlay.addEventListener(name, (event) => event.stopPropagation());
    overlay.addEventListener("dblclick", () => this.close());
  }

  /** Take over the data of the server; for an open form, the marks on the screen take precedence. */
  show({ sheet, others, can_set_scale: canSetScale }, setState, setTrigger) {
    Object.assign(this, { others, canSetScale, setState, setTrigger });
    this.viewer.find(".sr-mark-tools").hidden = !sheet?.editable;
    if (sheet?.form !== this.sheet?.form || !sheet?.editable) this.leave();
    this.sheet = sheet;
    const name = sheet && keptName(sheet.owner, sheet.form, "marks");
    if (sheet?.editable) {
      const page = sheets.get(name) ?? { regions: kept(sheet, "marks")?.value ?? this.listInitial(sheet), before: [] };
      sheets.set(name, page);
      this.page = page;
      if (JSON.stringify(page.regions) !== JSON.stringify(sheet.regions)) this.send();
    } else {
      this.page = { regions: sheet?.regions ?? [], before: [] };
    }
    this.list.draw();
  }

  /** Return the marks a form starts with: those of the server, and unsaved ones of overtaken forms. */
  listInitial({ regions, overtaken, owner }) {
    const unsaved = overtaken.flatMap((form) => kept({ owner, form }, "marks")?.value ?? []);
    return [...new Set([...regions, ...unsaved].map((each) => JSON.stringify(each)))].map((each) => JSON.parse(each));
  }

  get image() {
    return this.viewer.images[this.viewer.state.index];
  }

  change(regions) {
    this.page.before.push(this.page.regions);
    this.page.regions = regions;
    this.send();
    this.list.draw();
    this.viewer.paint();
  }

  /** Store the marks in this tab, and send them to the server. */
  send() {
    keep(this.sheet, "marks", this.page.regions);
    this.setState("marks", { form: this.sheet.form, regions: this.page.regions });
  }

  undo() {
    if (this.drawn.length) this.drawn.pop();
    else if (this.page.before.length) {
      this.page.regions = this.page.before.pop();
      this.send();
      this.list.draw();
    }
    this.viewer.paint();
  }

  pick(kind) {
    if (!this.sheet?.editable || !this.viewer.item) return;
    const again = this.tool === kind;
    this.leave();
    this.full = this.page.regions.length >= MOST_MARKS;
    if (!again && !this.full) this.tool = kind;
    this.drawTool();
  }

  leave() {
    Object.assign(this, { tool: null, drawn: [], pointer: null, full: false });
    this.drawTool();
  }

  drawTool() {
    for (const kind of Object.keys(TOOLS)) {
      this.viewer.find(`[data-mark=${kind}]`).setAttribute("aria-pressed", this.tool === kind);
    }
    this.overlay.classList.toggle("sr-marking", this.tool !== null);
    this.viewer.drawTools();
  }

  get hint() {
    if (this.full) return `One read can have at most ${MOST_MARKS} marks. Delete some first.`;
    return this.tool ? HINTS[this.tool] : "";
  }

  /** Convert canvas pixels to image pixels. */
  onImage([x, y]) {
    const { from, to } = this.viewer.frame;
    const { width, height } = this.image;
    return [((x - from.x) / (to.x - from.x)) * width, ((y - from.y) / (to.y - from.y)) * height];
  }

  onScreen([x, y]) {
    const { from, to } = this.viewer.frame;
    const { width, height } = this.image;
    return [from.x + (x / width) * (to.x - from.x), from.y + (y / height) * (to.y - from.y)];
  }

  get cross() {
    const { x, y } = this.viewer.osd.viewport.getContainerSize();
    return [x / 2, y / 2];
  }

  press(event) {
    event.stopPropagation();
    if (event.button !== 0) return;
    this.overlay.setPointerCapture(event.pointerId);
    if (this.pinch.press(event)) this.retract();
    // A second pointer never draws: it is a finger of a pinch, or the palm beside a pen.
    else if (!this.pointer) {
      const at = [event.offsetX, event.offsetY];
      this.pointer = { id: event.pointerId, from: at, dragged: false, before: [...this.drawn] };
    }
  }

  move(event) {
    event.stopPropagation();
    if (this.pinch.move(event)) return;
    const at = [event.offsetX, event.offsetY];
    if (this.pointer?.id !== event.pointerId) return;
    const far = Math.hypot(at[0] - this.pointer.from[0], at[1] - this.pointer.from[1]) >= DRAG_FROM;
    if (!this.pointer.dragged && !far) return;
    if (!this.pointer.dragged && !this.pointer.before.length) this.drawn = [this.onImage(this.pointer.from)];
    this.pointer.dragged = true;
    if (POINTS[this.tool] === 2) this.drawn = [this.drawn[0], this.onImage(at)];
    else if (this.tool === "shape") this.drawn.push(this.onImage(at));
    this.viewer.paint();
  }

  release(event) {
    event.stopPropagation();
    this.pinch.release(event);
    const { pointer } = this;
    if (pointer?.id !== event.pointerId) return;
    this.pointer = null;
    if (!pointer.dragged || this.tool === "point") this.put([event.offsetX, event.offsetY]);
    else this.close();
  }

  cancel(event) {
    this.pinch.release(event);
    if (this.pointer?.id === event.pointerId) this.retract();
  }

  /** Take back what the pointer on the screen has drawn; corners that were set before it stay. */
  retract() {
    if (this.pointer) this.drawn = this.pointer.before;
    this.pointer = null;
    this.viewer.paint();
  }

  drop() {
    Object.assign(this, { pointer: null, drawn: [] });
    this.viewer.paint();
  }

  /** Add a corner, at a mouse click or at the cross. */
  put(at) {
    const [first] = this.drawn;
    const closes = this.tool === "shape" && this.drawn.length > 2;
    if (closes && Math.hypot(...this.onScreen(first).map((c, axis) => c - at[axis])) < NEAR) {
      this.close();
      return;
    }
    this.drawn.push(this.onImage(at));
    if (this.drawn.length === POINTS[this.tool]) this.close();
    else this.viewer.paint();
  }

  /** Add the finished mark, and let the mouse move the tissue again. */
  close() {
    const points = this.tool && finishPoints(this.tool, this.drawn, this.image);
    if (!points) {
      this.drop();
      return;
    }
    const region = { image_id: this.image.image_id, kind: this.tool, points, note: "" };
    this.leave();
    this.change([...this.page.regions, region]);
  }

  paint(pen) {
    const onScreen = (point) => this.onScreen(point);
    const here = ({ image_id: image }) => image === this.image.image_id;
    const length = ({ kind, points }) => (kind === "line" ? writeLength(measure(points), this.image.um_per_px) : "");
    this.others.forEach(({ name, regions }, at) => regions.filter(here).forEach((region) => {
      paintMark(pen, region, onScreen, { colour: OTHERS[at % OTHERS.length], name: joinName(name, length(region)), dashed: true });
    }));
    this.page.regions.forEach((region, at) => here(region)
      && paintMark(pen, region, onScreen, { colour: OWN, name: joinName(at + 1, length(region)), dashed: !this.sheet.editable }));
    if (!this.tool) return;
    if (this.drawn.length) {
      const kind = POINTS[this.tool] === 2 && this.drawn.length < 2 ? "point" : this.tool;
      const drawn = { kind, points: this.drawn };
      paintMark(pen, drawn, onScreen, { colour: OWN, name: length(drawn), open: kind === "shape" });
    }
    paintCross(pen, this.cross);
  }

  /** Move the tissue by (x, y) screen pixels. */
  pan(x, y) {
    const { viewport } = this.viewer.osd;
    viewport.panBy(viewport.deltaPointsFromPixels(new window.OpenSeadragon.Point(x, y))).applyConstraints();
  }

  /** Handle a key while a tool is active; return whether it was meant for the tool. */
  handleKey(event) {
    const step = event.shiftKey ? PAN / 10 : PAN;
    const pans = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "Escape") this.leave();
    else if (pans[event.key]) this.pan(...pans[event.key]);
    else if (event.key === "Enter" && this.tool === "shape" && this.drawn.length > 2) this.close();
    else if (event.key === "Enter" || event.key === " ") this.put(this.cross);
    else return false;
    return true;
  }
}
