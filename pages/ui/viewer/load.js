// Where the viewer's pictures and OpenSeadragon come from: our own routes.

/** Address of one of our routes: the app may live under a path of its own, where Streamlit's own script came from. */
function address(path) {
  const own = document.querySelector('script[src*="static/js/"]');
  return (own ? own.src.split("/static/js/")[0] : location.origin) + path;
}

/** OpenSeadragon, fetched once per page load. */
function library(path) {
  library.loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address(path);
    script.onload = () => resolve(window.OpenSeadragon);
    script.onerror = () => reject(new Error(`${path} could not be loaded`));
    document.head.append(script);
  });
  return library.loading;
}
