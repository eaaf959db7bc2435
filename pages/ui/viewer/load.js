// Loading of images and OpenSeadragon from our own routes.

/** Return the address of one of our routes; the app may be served under a base path, which Streamlit's script shows. */
function address(path) {
  const own = document.querySelector('script[src*="static/js/"]');
  return (own ? own.src.split("/static/js/")[0] : location.origin) + path;
}

/** Load OpenSeadragon, once per page load. */
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
