// Two fingers on the tissue while a marking tool is active: they zoom and move it, and leave no mark.

class Pinch {
  constructor(viewer) {
    Object.assign(this, { viewer, fingers: new Map(), active: false });
  }

  /** Note a finger; return whether it makes a pinch, which lasts until the last finger is lifted. */
  press(event) {
    if (event.pointerType !== "touch") return false;
    if (event.isPrimary) this.fingers.clear(); // the lifting of an earlier finger may have been missed
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.active = this.fingers.size > 1;
    return this.active;
  }

  /** Zoom and move the tissue with the fingers; return whether the event belongs to a pinch. */
  move(event) {
    if (!this.active) return false;
    if (!this.fingers.has(event.pointerId)) return true;
    const before = this.measure();
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    const after = this.measure();
    if (before && after) this.follow(before, after);
    return true;
  }

  release(event) {
    this.fingers.delete(event.pointerId);
    if (!this.fingers.size) this.active = false;
  }

  /** Return the middle of the first two fingers and their distance, in screen pixels; null with fewer. */
  measure() {
    const [first, second] = this.fingers.values();
    if (!second) return null;
    const middle = [(first[0] + second[0]) / 2, (first[1] + second[1]) / 2];
    return { middle, distance: Math.hypot(first[0] - second[0], first[1] - second[1]) };
  }

  follow(before, after) {
    const { viewport } = this.viewer.osd;
    const { Point } = window.OpenSeadragon;
    const [left, top] = [0, 1].map((axis) => before.middle[axis] - after.middle[axis]);
    viewport.panBy(viewport.deltaPointsFromPixels(new Point(left, top), true), true);
    // Fingers that touch have no distance to compare with.
    const factor = before.distance && after.distance ? after.distance / before.distance : 1;
    viewport.zoomBy(factor, viewport.pointFromPixel(new Point(...after.middle), true), true);
    viewport.applyConstraints(true);
  }
}
