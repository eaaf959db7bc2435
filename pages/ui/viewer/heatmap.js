// A map as an overlay: its grey levels become colours and a contour. `maps.js` says which maps there are.

// OpenCV's cividis, 256 x RGB: uniform in lightness, and distinct from H&E for colour-blind readers too.
const CIVIDIS = Uint8Array.from(atob(
  "ACJOACNPACRRACVTACVUACZWACdYAChZAChbACldACpfACphACtiACxkACxmAC1oAC5qAC5sAC9tADBvADBwADFwADFxATJxBTNxCDNwDDRwDzVw" +
  "EjVwFDZwFjdwGDdvGjhvHDlvHjpvIDpvITtuIzxuJDxuJj1uJz5uKT9uKj9tK0BtLUFtLkFtL0JtMUNtMkNtM0RtNEVsNUVsNkZsOEdsOUhsOkhs" +
  "O0lsPEpsPUpsPktsP0xsQExsQU1sQk5sQ05sRE9sRVBsRlFsR1FsSFJsSVNsSlNsS1RsTFVsTVVsTlZsT1dsUFdsUVhtUlltU1ptVFptVVttVVxt" +
  "VlxtV11tWF5tWV5uWl9uW2BuXGFuXWFuXmJuXmNvX2NvYGRvYWVvYmVvY2ZwZGdwZWhwZWhwZmlwZ2pxaGpxaWtxamxxa21ybG1ybG5ybW9ybm9z" +
  "b3BzcHFzcXJ0cnJ0cnN0c3R1dHR1dXV1dnZ2d3d2d3d3eHh3eXl3enp4e3p4fHt4fXx4fnx4fn14f354gH94gX94goB5g4F5hIJ5hYJ5hoN5h4R4" +
  "iIV4iYV4ioZ4i4d4jIh4jYh4jol4j4p4kIt4kYt4kox4ko14k454lI53lY93lpB3l5F3mJJ3mZJ3mpN2m5R2nJV2nZV2npZ2n5d1oJh1oZl1opl1" +
  "o5p0pJt0pZx0ppx0p51zqJ5zqZ9zqqBzq6ByrKFyraJyrqNxr6RxsKVxsaVws6ZwtKdvtahvtqlvt6luuKpuuattuqxtu61tvK5sva5svq9rv7Br" +
  "wLFqwbJqwrNpw7NpxLRoxbVoxrZnx7dnyLhmyblly7llzLpkzbtjzrxjz71i0L5i0b9h0sBg08Bf1MFf1cJe1sNd18Rc2cVc2sZb28da3MhZ3chY" +
  "3slY38pX4MtW4cxV4s1U5M5T5c9S5tBR59FQ6NJP6dNO6tNM69RL7dVK7tZJ79dI8NhG8dlF8tpE89tC9dxB9t0/994++N88+eA6++E4/OI2/eM0" +
  "/uQ0/uU1/uY2/ug4"
), (letter) => letter.charCodeAt(0));

// A map is coarser than its image (one value per 7 to 32 image pixels): a larger canvas would show no more detail.
const MAP_SIDE = 768;
// The contour needs fewer points still: on a fine grid the 256 grey levels would turn it into a staircase.
const LINE_SIDE = 160;
// Low values are painted with this share of the opacity: on real sections, uniform opacity greyed all of the tissue.
const COLDEST_PAINT = 0.2;

/** Load one map; return its colours, its contour and the text for the contour. */
async function loadMap(layer) {
  const picture = new Image();
  picture.src = address(layer.url);
  await picture.decode();
  const fine = readGrey(picture, MAP_SIDE);
  const coarse = readGrey(picture, LINE_SIDE);
  const iso = chooseLevel(coarse.grey, layer);
  return { canvas: drawColours(fine, MAPS[layer.kind].colours), words: iso.words, line: traceContour(coarse, iso.grey) };
}

/** Return the grey values of a picture, shrunk to sides of at most `side` pixels. */
function readGrey(picture, side) {
  const shrink = Math.min(1, side / Math.max(picture.naturalWidth, picture.naturalHeight));
  const width = Math.max(1, Math.round(picture.naturalWidth * shrink));
  const height = Math.max(1, Math.round(picture.naturalHeight * shrink));
  const pen = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, width, height);
  const { data } = pen.getImageData(0, 0, width, height);
  return { width, height, grey: Uint8Array.from({ length: width * height }, (_, at) => data[4 * at]) };
}

/** Return a canvas with the colours of the map, more transparent where its values are low. */
function drawColours({ width, height, grey }, colours) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pixels = new ImageData(width, height);
  grey.forEach((value, at) => {
    pixels.data.set(colours.subarray(3 * value, 3 * value + 3), 4 * at);
    pixels.data[4 * at + 3] = 255 * COLDEST_PAINT + value * (1 - COLDEST_PAINT);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** Return the level of the contour: zero logits, where evidence changes sign, else the upper quartile of the map. */
function chooseLevel(grey, { low, high }) {
  if (low < 0 && high > 0) return { grey: (-low / (high - low)) * 255, words: "Contour at 0 logits" };
  const quartile = [...grey].sort((a, b) => a - b)[Math.floor(grey.length * 0.75)];
  const logits = low === undefined ? "" : `, ${formatLogits(low + (quartile / 255) * (high - low))} logits`;
  return { grey: quartile, words: `Contour at the upper quartile${logits}` };
}

/** Trace a contour by marching squares between pixel centres; the path is in fractions of the image, 0..1 in x and y. */
function traceContour({ width, height, grey }, level) {
  const path = new Path2D();
  const at = (x, y) => grey[y * width + x];
  const cut = (ax, ay, bx, by) => {
    const share = (level - at(ax, ay)) / (at(bx, by) - at(ax, ay));
    return [(ax + share * (bx - ax) + 0.5) / width, (ay + share * (by - ay) + 0.5) / height];
  };
  for (let y = 0; y + 1 < height; y += 1) {
    for (let x = 0; x + 1 < width; x += 1) {
      const above = (at(x, y) >= level) + (at(x + 1, y) >= level) + (at(x + 1, y + 1) >= level) + (at(x, y + 1) >= level);
      if (above % 4 === 0) continue;
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      const ends = [];
      corners.forEach(([ax, ay], side) => {
        const [bx, by] = corners[(side + 1) % 4];
        if (at(ax, ay) >= level !== at(bx, by) >= level) ends.push(cut(ax, ay, bx, by));
      });
      for (let end = 0; end < ends.length; end += 2) {
        path.moveTo(...ends[end]);
        path.lineTo(...ends[end + 1]);
      }
    }
  }
  return path;
}

/** Paint the colours over the tissue between two corners of the screen. */
function paintColours(pen, evidence, from, to, opacity) {
  pen.globalAlpha = opacity;
  pen.drawImage(evidence.canvas, from.x, from.y, to.x - from.x, to.y - from.y);
}

/** Paint the contour as a light line on a dark one: visible on pale fat and dark nuclei, equally thin at every zoom. */
function paintContour(pen, evidence, from, to) {
  const line = new Path2D();
  line.addPath(evidence.line, new DOMMatrix([to.x - from.x, 0, 0, to.y - from.y, from.x, from.y]));
  Object.assign(pen, { globalAlpha: 1, lineCap: "round" });
  for (const [width, colour] of [[4, "#111"], [1.75, "#fff"]]) {
    Object.assign(pen, { lineWidth: width, strokeStyle: colour });
    pen.stroke(line);
  }
}

/** Format a value with two digits and a true minus sign. */
function formatLogits(value) {
  return value.toFixed(Math.abs(value) < 10 ? 1 : 0).replace("-", "\u2212");
}

/** Paint the colour bar: 256 colours from left to right. */
function paintBar(canvas, colours) {
  canvas.width = 256;
  canvas.height = 1;
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(256, 1);
  for (let value = 0; value < 256; value += 1) {
    pixels.data.set([...colours.subarray(3 * value, 3 * value + 3), 255], 4 * value);
  }
  pen.putImageData(pixels, 0, 0);
}
