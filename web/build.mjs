// Builds the page into the Python package. No network: everything comes from node_modules.
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";

const out = "../src/aczerots/annotation/web";
await mkdir(out, { recursive: true });
const common = { bundle: true, minify: true, target: "es2022", legalComments: "inline", logLevel: "info" };
await build({ ...common, entryPoints: ["src/page.js"], outfile: `${out}/page.js`, format: "iife" });
await build({ ...common, entryPoints: ["src/theme.js"], outfile: `${out}/theme.js`, format: "iife" });
await build({ ...common, entryPoints: ["src/page.css"], outfile: `${out}/page.css` });
for (const name of ["index.html", "icon.svg"]) await copyFile(`src/${name}`, `${out}/${name}`);
