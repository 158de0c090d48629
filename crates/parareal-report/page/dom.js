// Elements. Texts become text nodes and attributes are set one by one: nothing is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function html(name, attributes, ...children) {
  return build(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

/** An attribute that is a function becomes a listener for the event of that name; null values are ignored. */
function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key, value);
    else if (key === "style") {
      for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    } else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);

let lastId = 0;
/** An id that no other element has. */
const newId = (stem) => `${stem}-${(lastId += 1)}`;

/** A details element whose content is created when it is first opened. */
function folded(summary, fill) {
  const details = html("details", null, html("summary", null, summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(fill());
  });
  return details;
}

/** A table that scrolls on its own if it is too wide. Cells are texts, nodes, or {text, ...}. */
function table(caption, head, rows, attributes) {
  const cell = (tag, content, extra) => {
    const { text, ...rest } = isPlain(content) ? content : { text: content };
    return html(tag, { ...extra, ...rest }, text);
  };
  return html(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    html(
      "table",
      attributes,
      html("caption", { class: "unseen" }, caption),
      html(
        "thead",
        null,
        html(
          "tr",
          null,
          head.map((c) => cell("th", c, { scope: "col" })),
        ),
      ),
      html(
        "tbody",
        null,
        rows.map(([first, ...others]) =>
          html(
            "tr",
            null,
            cell("th", first, { scope: "row" }),
            others.map((c) => cell("td", c)),
          ),
        ),
      ),
    ),
  );
}

const isPlain = (content) =>
  content !== null &&
  typeof content === "object" &&
  Object.getPrototypeOf(content) === Object.prototype;
