// Shapes of marks: their points in image pixels, and how they are painted on the canvas over the tissue.

// Neither H&E nor the heat map (cividis) contains green; the dark edge separates it from pale fat.
const OWN = "#2bff6a";
const EDGE = "#06210f";
// Marks of other readers are also dashed and named, so that colour alone carries no information.
const OTHERS = ["#ffb000", "#00e5ff", "#ffffff", "#ff8adf"];
const MOST_POINTS = 200; // of a shape
const NEAR = 8; // screen pixels: a click this close to the first corner closes a shape

/** Round a point to a tenth of a pixel, and clip it to the image. */
function clipPoint([x, y], { width, height }) {
  const tenth = (value, most) => Math.min(most, Math.max(0, Math.round(value * 10) / 10));
  return [tenth(x, width), tenth(y, height)];
}

/** Return the points of a finished mark; null if it covers nothing. */
function finishPoints(kind, drawn, image) {
  const points = drawn.map((point) => clipPoint(point, image));
  if (kind === "point") return points.slice(0, 1);
  if (kind === "box") {
    if (points.length < 2) return null;
    const [xs, ys] = [0, 1].map((axis) => [points[0][axis], points.at(-1)[axis]].sort((a, b) => a - b));
    return xs[0] < xs[1] && ys[0] < ys[1] ? [[xs[0], ys[0]], [xs[1], ys[1]]] : null;
  }
  if (kind === "line") return points.length > 1 && measure(points) > 0 ? [points[0], points.at(-1)] : null;
  const outline = points.filter(([x, y], at) => at === 0 || x !== points[at - 1][0] || y !== points[at - 1][1]);
  return outline.length < 3 ? null : simplify(outline);
}

/** Reduce an outline to at most `MOST_POINTS` points; those nearest to a straight line are removed first. */
function simplify(outline) {
  let points = outline;
  for (let tolerance = 0.5; points.length > MOST_POINTS; tolerance *= 1.5) points = straighten(outline, tolerance);
  return points.length < 3 ? outline.slice(0, 3) : points;
}

/** Remove points closer to a line than `tolerance` (Douglas and Peucker, Cartographica 1973,
 * "Algorithms for the reduction of the number of points"). */
function straighten(points, tolerance) {
  const [first, last] = [points[0], points.at(-1)];
  const length = Math.hypot(last[0] - first[0], last[1] - first[1]);
  let [farthest, at] = [0, 0];
  for (let index = 1; index + 1 < points.length; index += 1) {
    const [x, y] = points[index];
    const area = Math.abs((last[0] - first[0]) * (first[1] - y) - (first[0] - x) * (last[1] - first[1]));
    const distance = length ? area / length : Math.hypot(x - first[0], y - first[1]);
    if (distance > farthest) [farthest, at] = [distance, index];
  }
  if (farthest <= tolerance) return [first, last];
  return [...straighten(points.slice(0, at + 1), tolerance).slice(0, -1), ...straighten(points.slice(at), tolerance)];
}

/** Return the corners of a mark in drawing order. */
function outlineOf(kind, points) {
  if (kind !== "box" || points.length < 2) return points;
  const [[left, top], [right, bottom]] = [points[0], points.at(-1)];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** Paint one mark; `onScreen` converts image pixels to canvas pixels, so that lines are equally thin at every zoom. */
function paintMark(pen, { kind, points }, onScreen, { colour, name, dashed, open }) {
  const path = new Path2D();
  const corners = outlineOf(kind, points).map(onScreen);
  if (kind === "point") {
    const [x, y] = corners[0];
    path.arc(x, y, 7, 0, 2 * Math.PI);
    path.moveTo(x + 0.5, y);
    path.arc(x, y, 0.5, 0, 2 * Math.PI);
  } else {
    corners.forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (kind === "line") addEnds(path, corners);
    else if (!open) path.closePath();
  }
  pen.setLineDash(dashed ? [7, 5] : []);
  strokePath(pen, path, colour);
  pen.setLineDash([]);
  const left = corners.reduce((least, corner) => (corner[0] < least[0] ? corner : least));
  if (name) paintName(pen, name, kind === "point" ? [left[0] + 10, left[1] - 8] : [left[0] + 5, left[1] - 6], colour);
}

/** Add short strokes across the ends of a line. */
function addEnds(path, [from, to]) {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1;
  const [across, along] = [(-6 * (to[1] - from[1])) / length, (6 * (to[0] - from[0])) / length];
  for (const [x, y] of [from, to]) {
    path.moveTo(x - across, y - along);
    path.lineTo(x + across, y + along);
  }
}

/** Paint the cross at which the keyboard marks. */
function paintCross(pen, [x, y]) {
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + 4 * dx, y + 4 * dy);
    path.lineTo(x + 14 * dx, y + 14 * dy);
  }
  strokePath(pen, path, "#ffffff");
}

function strokePath(pen, path, colour) {
  Object.assign(pen, { globalAlpha: 1, lineCap: "round", lineJoin: "round" });
  for (const [width, style] of [[4.5, EDGE], [2, colour]]) {
    Object.assign(pen, { lineWidth: width, strokeStyle: style });
    pen.stroke(path);
  }
}

function paintName(pen, name, [x, y], colour) {
  Object.assign(pen, { font: "600 14px sans-serif", lineWidth: 4, strokeStyle: EDGE, fillStyle: colour });
  pen.strokeText(name, x, y);
  pen.fillText(name, x, y);
}
