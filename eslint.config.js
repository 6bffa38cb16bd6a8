// Rules for the explorer's JavaScript, which runs in browsers: see `make lint`.

const browser = [
  "Blob",
  "DataView",
  "ImageData",
  "MessageChannel",
  "MutationObserver",
  "OffscreenCanvas",
  "ResizeObserver",
  "TextDecoder",
  "URL",
  "atob",
  "clearTimeout",
  "document",
  "fetch",
  "getComputedStyle",
  "location",
  "performance",
  "requestAnimationFrame",
  "setTimeout",
  "window",
];
const markup = ["innerHTML", "outerHTML", "insertAdjacentHTML"];
const message = "A text of a model must not become markup: use textContent or append.";

export default [
  {
    files: ["racviz/explorer/static/*.js"],
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "module",
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "max-len": ["error", 110],
      "max-lines": ["error", 200],
      "max-lines-per-function": ["error", 60],
      "no-restricted-properties": ["error", ...markup.map((property) => ({ property, message }))],
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
];
