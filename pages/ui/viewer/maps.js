// The maps that can lie over an image, one at a time: the evidence, and where it is least like the training images.

// Green, the complement of H&E: it must not be mistaken for the colours of the evidence.
const GREENS = Uint8Array.from({ length: 3 * 256 }, (_, at) => {
  const share = Math.floor(at / 3) / 255;
  const [dark, bright] = [[0, 45, 30], [60, 255, 120]];
  return dark[at % 3] + share * (bright[at % 3] - dark[at % 3]);
});

const MAPS = {
  evidence: { colours: CIVIDIS, legend: "Evidence for malignancy (logits)" },
  scope: { colours: GREENS, legend: "Difference from the training images (scaled to this image)" },
};

/** Return the map of an image that is shown, with its kind; null if it has none. */
function chooseLayer(image, wantsScope) {
  const { heatmap, scope_map_url: url } = image;
  if (url && (wantsScope || !heatmap)) return { kind: "scope", url };
  return heatmap && { kind: "evidence", ...heatmap };
}

/** Draw the colour bar of a map with its ends; only evidence has numbers, and a zero between them. */
function drawScale(root, { kind, low, high }) {
  const find = (selector) => root.querySelector(selector);
  const { colours, legend } = MAPS[kind];
  find(".sr-scale figcaption").textContent = legend;
  paintBar(find(".sr-bar canvas"), colours);
  find(".sr-low").textContent = low === undefined ? "less" : formatLogits(low);
  find(".sr-high").textContent = high === undefined ? "more" : formatLogits(high);
  find(".sr-zero").hidden = !(low < 0 && high > 0);
  find(".sr-zero").style.left = `${(-low / (high - low)) * 100}%`;
}

/** Draw what is switched on: the map, that of the scope if there is one, the contour, and the opacity. */
function drawMapTools(root, map, hasScope, showsScope) {
  const find = (selector) => root.querySelector(selector);
  find("[data-do=map]").setAttribute("aria-pressed", map);
  find("[data-do=contour]").setAttribute("aria-pressed", settings.contour);
  find("[data-do=scope]").hidden = !hasScope;
  find("[data-do=scope]").setAttribute("aria-pressed", showsScope);
  find("input[type=range]").value = settings.opacity;
  find("input[type=range]").title = `Opacity ${settings.opacity}% (keys [ and ])`;
}
