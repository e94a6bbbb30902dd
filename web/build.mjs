// Builds the page into the Python package. No network: everything comes from node_modules.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";

const out = process.argv[2] ?? "../src/aczerots/server/web";
await mkdir(out, { recursive: true });
const common = { bundle: true, minify: true, target: "es2022", legalComments: "inline", logLevel: "info" };
await build({ ...common, entryPoints: ["src/page.js"], outfile: `${out}/page.js`, format: "iife" });
await build({ ...common, entryPoints: ["src/theme.js"], outfile: `${out}/theme.js`, format: "iife" });
await build({ ...common, entryPoints: ["src/page.css"], outfile: `${out}/page.css` });
for (const name of ["index.html", "icon.svg"]) await copyFile(`src/${name}`, `${out}/${name}`);

// Licences ask that copies, minified ones too, come with the notices of whoever wrote what is in them.
const viewer = await readFile("node_modules/openseadragon/build/openseadragon/openseadragon.js", "utf8");
const comments = viewer.match(/\/\*[\s\S]*?\*\//g).filter((comment) => /Copyright/i.test(comment));
const plain = comments.map((comment) => comment.replace(/^[ /*]+|[ */]+$/gm, "").trim());
const notices = new Set(plain.map((text) => text.replace(/^OpenSeadragon.*\n+/, ""))); // each part names itself first
await writeFile(`${out}/NOTICES.txt`, `page.js holds openseadragon.\n\n${[...notices].join("\n\n---\n\n")}\n`);
