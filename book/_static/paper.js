// Paper is white: a page in the dark theme prints in the light one, and is dark again afterwards.
{
  const root = document.documentElement.dataset;
  let screen = null;
  addEventListener("beforeprint", () => {
    screen ??= root.theme;
    root.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.theme = screen ?? root.theme;
    screen = null;
  });
}
