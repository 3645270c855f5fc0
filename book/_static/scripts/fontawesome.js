// Takes the place of the theme's file of this name (Sphinx copies html_static_path after the theme's own files).
// The theme sends every icon twice: as a web font, which suffices, and as 540 kB of SVG in a script.
