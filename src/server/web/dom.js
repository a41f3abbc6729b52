// Building elements. No text ever becomes markup: strings become text nodes.

const kSvg = "http://www.w3.org/2000/svg";

// element("button", {class: "icon", onclick: f, "aria-label": "Stop"}, child, "text"): a property that
// starts with "on" is a listener, true stands for an empty attribute, false, null and undefined for none.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// A drawing of the sprite in index.html, invisible to screen readers.
export function icon(name) {
  const svg = document.createElementNS(kSvg, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(kSvg, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onclick, properties = {}) {
  return element("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties },
    icon(name));
}

export const byId = (id) => document.getElementById(id);

// Sets the text of an element only when it differs, which spares layout and screen readers.
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Says something to screen readers alone, after what is being said. The region is filled anew each
// time, so that the same sentence twice is said twice.
let said = 0;
export function announce(text) {
  const region = byId("announcer");
  said += 1;
  const line = element("p", { "data-number": said }, text);
  region.append(line);
  while (region.childElementCount > 6) region.firstChild.remove();
}

// A line at the bottom for some seconds, with at most one thing to do about it.
let toast_timer = 0;
export function toast(text, action = null) {
  const bar = byId("toast");
  clearTimeout(toast_timer);
  bar.replaceChildren(element("span", {}, text));
  if (action) {
    bar.append(element("button", { type: "button", class: "text-button", onclick: () => { hideToast(); action.run(); } },
      action.label));
  }
  bar.classList.add("shown");
  toast_timer = setTimeout(hideToast, action ? 9000 : 5000);
}

function hideToast() {
  byId("toast").classList.remove("shown");
  byId("toast").replaceChildren();
}

export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Without TLS on another host browsers offer no clipboard but that of a selection.
  const field = element("textarea", { class: "visually-hidden" });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("the browser refuses to copy");
}

// A button that copies what `text()` gives and says so for a moment.
export function copyButton(label, text, properties = {}) {
  const button = iconButton("copy", label, async () => {
    try {
      await copyText(text());
      button.replaceChildren(icon("check"));
      announce("Copied.");
      setTimeout(() => button.replaceChildren(icon("copy")), 1500);
    } catch (error) {
      toast(`Not copied: ${error.message}`);
    }
  }, properties);
  return button;
}
