// Bundles each panel, src/<name>.ts, to hdvlab/widgets/static/<name>.js, and its style, src/panel.css with src/<name>.css
// where there is one, to static/<name>.css. The bundles are committed, so that installing needs no Node.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { buildSync, transformSync } from "esbuild";

const PANELS = ["registers", "config", "memory", "table", "timeline", "heatmap", "stepper", "status", "dashboard"];
/** Panels with bytes in them share that part's style, and so do those that are pictures. */
const SHARED = {
  config: ["src/hex_grid.css"], memory: ["src/hex_grid.css"], heatmap: ["src/chart.css"], timeline: ["src/chart.css"],
};
const LIMIT = 50_000; // bytes: the module's text travels with every widget
// HDVLAB_STATIC names another place: the check compares it with what is committed.
const out = process.env.HDVLAB_STATIC ? `${process.env.HDVLAB_STATIC}/` : new URL("../hdvlab/widgets/static/", import.meta.url).pathname;

process.chdir(new URL(".", import.meta.url).pathname);
mkdirSync(out, { recursive: true });
for (const name of PANELS.filter((panel) => existsSync(`src/${panel}.ts`))) {
  buildSync({
    entryPoints: [`src/${name}.ts`],
    outfile: `${out}${name}.js`,
    bundle: true,
    format: "esm",
    target: "es2021",
    minify: true,
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
  });
  const styles = ["src/panel.css", ...(SHARED[name] ?? []), `src/${name}.css`].filter((file) => existsSync(file));
  const css = styles.map((file) => readFileSync(file, "utf8")).join("\n");
  writeFileSync(`${out}${name}.css`, transformSync(css, { loader: "css", minify: true }).code);
  const size = statSync(`${out}${name}.js`).size;
  console.log(`${name}.js ${(size / 1000).toFixed(1)} kB`);
  if (size > LIMIT) {
    console.error(`${name}.js is larger than ${LIMIT / 1000} kB`);
    process.exitCode = 1;
  }
}
