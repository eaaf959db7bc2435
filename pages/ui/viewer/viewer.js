// The zooming viewer: OpenSeadragon for the tissue, and a canvas over it for a map and the marks.
// It uses the other files of this folder.

const ACTIONS = { fit: "0", full: "Z", in: "+", out: "-", map: "H", scope: "J", contour: "K" };
// Above this zoom the recorded pixels are shown, not an interpolation between them.
const SMOOTH_UP_TO = 2;

const viewers = new WeakMap(); // element of Streamlit -> its viewer, which survives reruns of the page
const states = new Map(); // key of a viewer -> image, position and map switch, in case Streamlit mounts it again
const settings = { opacity: 50, contour: false }; // kept from case to case
let active = null; // the viewer that receives the keys: the one last pointed at

/** Called by Streamlit once per rerun in which the data changed. */
export default function mount({ data, parentElement, setStateValue, setTriggerValue }) {
  let viewer = viewers.get(parentElement);
  if (!viewer) {
    viewer = new CaseViewer(parentElement.querySelector(".sr-viewer"), data);
    viewers.set(parentElement, viewer);
  }
  viewer.show(data, setStateValue, setTriggerValue);
  return () => {
    // Streamlit also calls this for a run that the next one has replaced; then the viewer is still on the page.
    if (parentElement.isConnected) return;
    viewers.delete(parentElement);
    viewer.close();
  };
}

class CaseViewer {
  constructor(root, { key, library: path }) {
    this.root = root;
    this.images = [];
    if (!states.has(key)) states.set(key, { index: 0, bounds: null, map: true, scope: false });
    this.state = states.get(key);
    this.overlay = Object.assign(document.createElement("canvas"), { className: "sr-overlay" });
    this.marks = new Marks(this, this.overlay);
    for (const [action, key] of Object.entries(ACTIONS)) {
      this.find(`[data-do=${action}]`).onclick = () => KEYS[key.toLowerCase()](this);
    }
    this.find("input[type=range]").oninput = (event) => this.setOpacity(Number(event.target.value));
    keepEnterApart(root);
    root.onpointerenter = () => { active = this; };
    if (!active?.root.isConnected) active = this;
    this.showMessage("Loading image …");
    this.ready = library(path).then(() => this.open(), () => {
      this.showMessage("The viewer could not be loaded. Reload the page.");
    });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  open() {
    const osd = new window.OpenSeadragon({
      element: this.find(".sr-tissue"), drawer: "canvas", showNavigationControl: false,
      showNavigator: true, navigatorPosition: "TOP_RIGHT", navigatorSizeRatio: 0.17, navigatorBackground: "transparent",
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      animationTime: 0.3, zoomPerScroll: 1.25, maxZoomPixelRatio: 16, minZoomImageRatio: 0.8, visibilityRatio: 0.5,
    });
    this.osd = osd;
    osd.canvas.append(this.overlay);
    // OpenSeadragon's own keys (A, D, W, S move, R rotates, F mirrors) would conflict with those of the page.
    for (const tracker of [osd.innerTracker, osd.navigator.innerTracker]) {
      Object.assign(tracker, { keyHandler: null, keyDownHandler: null });
    }
    osd.addHandler("open", () => { this.showMessage(""); this.restorePlace(); this.paint(); });
    osd.addHandler("open-failed", () => this.showMessage("The image could not be loaded. Reload the page."));
    osd.addHandler("update-viewport", () => this.paint());
    osd.addHandler("animation-finish", () => this.rememberPlace());
    osd.addHandler("resize", () => this.state.bounds || osd.viewport.goHome(true));
  }

  close() {
    this.osd?.destroy();
    if (active === this) active = null;
  }

  show(data, setState, setTrigger) {
    this.root.style.minHeight = `${data.height}px`;
    this.images = data.images;
    this.drawStrip();
    this.go(Math.min(this.state.index, data.images.length - 1));
    this.marks.show(data, setState, setTrigger);
    this.paint();
  }

  drawStrip() {
    const strip = this.find(".sr-strip");
    const content = JSON.stringify(this.images.map((image) => [image.thumbnail_url, image.label]));
    if (strip.dataset.content === content) return;
    strip.dataset.content = content;
    strip.hidden = this.images.length < 2;
    strip.replaceChildren(...this.images.map((image, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", title: image.label });
      button.setAttribute("aria-label", image.label);
      const number = Object.assign(document.createElement("span"), { textContent: index + 1 });
      button.append(Object.assign(new Image(), { src: address(image.thumbnail_url), alt: "" }), number);
      button.onclick = () => this.go(index);
      return button;
    }));
  }

  go(index) {
    const image = this.images[index];
    if (this.state.index !== index) {
      Object.assign(this.state, { index, bounds: null });
      this.marks.drop();
    }
    const [label, caption] = this.root.querySelectorAll(".sr-words > *");
    label.textContent = image.label;
    caption.textContent = [`${image.width} × ${image.height} px`, image.caption].filter(Boolean).join(" · ");
    this.find(".sr-strip").childNodes.forEach((button, at) => button.setAttribute("aria-current", at === index));
    if (this.imageUrl !== image.image_url) this.load(image);
    this.useMap(chooseLayer(image, this.state.scope));
  }

  async load(image) {
    this.imageUrl = image.image_url;
    this.showMessage("Loading image …");
    await this.ready;
    if (!this.osd || this.imageUrl !== image.image_url) return;
    this.osd.canvas.setAttribute("aria-label", `Tissue, ${image.label}`);
    this.osd.open({ type: "image", url: address(image.image_url), crossOriginPolicy: false, ajaxWithCredentials: false });
  }

  async useMap(layer) {
    const content = JSON.stringify(layer);
    if (this.layer === content) return;
    Object.assign(this, { layer: content, evidence: null, problem: "" });
    this.find(".sr-map-tools").hidden = this.find(".sr-scale").hidden = !layer;
    this.drawTools();
    if (!layer) return;
    drawScale(this.root, layer);
    try {
      const evidence = await loadMap(layer);
      if (this.layer !== content) return;
      this.evidence = evidence;
    } catch {
      if (this.layer === content) this.problem = "The map could not be loaded. Reload the page.";
    }
    this.drawTools();
  }

  /** Update buttons, slider and legend, then paint. */
  drawTools() {
    drawMapTools(this.root, this.state.map, this.image?.scope_map_url, this.showsScope);
    this.find(".sr-note").textContent = this.problem || this.marks.hint || (settings.contour && this.evidence?.words) || "";
    this.paint();
  }

  showMessage(words) {
    this.find(".sr-message").textContent = words;
  }

  get item() {
    return this.osd?.world.getItemAt(0);
  }

  paint() {
    const { item, osd, overlay, evidence } = this;
    if (!item) return;
    const zoom = item.viewportToImageZoom(osd.viewport.getZoom(true));
    this.find(".sr-zoom").value = `${Math.round(zoom * 100)}%`;
    drawScaleBar(this.root, this.marks.image, zoom, this.marks.canSetScale);
    const smooth = zoom <= SMOOTH_UP_TO;
    // If the whole image is visible, the navigator would only cover a corner of it.
    osd.navigator.element.classList.toggle("sr-needless", zoom <= item.viewportToImageZoom(osd.viewport.getHomeZoom()) * 1.01);
    if (this.smooth !== smooth) osd.drawer.setImageSmoothingEnabled(smooth);
    this.smooth = smooth;
    const bounds = item.getBounds(true);
    const from = osd.viewport.pixelFromPoint(bounds.getTopLeft(), true);
    const to = osd.viewport.pixelFromPoint(bounds.getBottomRight(), true);
    const { x, y } = osd.viewport.getContainerSize();
    const density = window.devicePixelRatio || 1;
    Object.assign(overlay, { width: x * density, height: y * density });
    this.frame = { from, to };
    const pen = overlay.getContext("2d");
    pen.scale(density, density);
    if (evidence && this.state.map) paintColours(pen, evidence, from, to, settings.opacity / 100);
    if (evidence && settings.contour) paintContour(pen, evidence, from, to);
    this.marks.paint(pen);
  }

  rememberPlace() {
    const { viewport } = this.osd;
    // Smaller than fitted counts as fitted; it also happens when the stage has just changed its height.
    const fitted = viewport.getZoom() <= viewport.getHomeZoom() * 1.001;
    this.state.bounds = fitted ? null : viewport.getBounds();
  }

  restorePlace() {
    if (this.state.bounds) this.osd.viewport.fitBounds(this.state.bounds, true);
    else this.osd.viewport.goHome(true);
  }

  fit() {
    this.osd?.viewport.goHome();
  }

  zoomTo(zoom) {
    if (this.item) this.osd.viewport.zoomTo(this.item.imageToViewportZoom(zoom)).applyConstraints();
  }

  zoomBy(factor) {
    if (this.item) this.osd.viewport.zoomBy(factor).applyConstraints();
  }

  step(by) {
    const index = this.state.index + by;
    if (index >= 0 && index < this.images.length) this.go(index);
  }

  toggleMap() {
    if (!this.evidence) return;
    this.state.map = !this.state.map;
    this.drawTools();
  }

  get image() {
    return this.images[this.state.index];
  }

  get showsScope() {
    return this.state.map && chooseLayer(this.image, this.state.scope)?.kind === "scope";
  }

  toggleScope() {
    if (!this.image?.scope_map_url) return;
    const leaves = this.showsScope;
    Object.assign(this.state, { scope: !leaves, map: !leaves || this.image.heatmap !== null });
    this.useMap(chooseLayer(this.image, this.state.scope));
    this.drawTools();
  }

  toggleContour() {
    if (!this.evidence) return;
    settings.contour = !settings.contour;
    this.drawTools();
  }

  setOpacity(percent) {
    if (!this.evidence) return;
    settings.opacity = Math.min(100, Math.max(0, percent));
    this.state.map = true;
    this.drawTools();
  }
}
