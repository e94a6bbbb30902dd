// Before the first paint, so that a dark page never flashes white.
const kept = localStorage.getItem("aczerots-theme");
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = kept ?? (dark ? "dark" : "light");
