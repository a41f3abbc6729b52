// One colour for each expert. The eight of Mixtral were searched for: light enough to carry dark text
// (8.7:1 on their ground, 5.4:1 as text on dark), and apart from each other, at least 0.087 in OKLab,
// also as people with protanopia, deuteranopia or tritanopia see them. They are never the only sign: numbers stand beside them.

const kEight = ["#76a6ec", "#bda33f", "#e482a0", "#8efdfd", "#c4d371", "#f0b5bd", "#a1cffd", "#ffe4b8"];
const kGoldenAngle = 137.508;

// Where there are more experts, hues by the golden angle in three lightnesses; neighbours differ most.
function colourOf(expert, experts) {
  if (experts <= kEight.length) return kEight[expert];
  const lightness = [0.74, 0.92, 0.83][expert % 3];
  return `oklch(${lightness} 0.1 ${((expert * kGoldenAngle) % 360).toFixed(1)})`;
}

let defined = 0;

// Sets --expert-0 ... on the page; what is coloured refers to these.
export function definePalette(experts) {
  if (experts <= defined) return;
  for (let expert = 0; expert < experts; expert++) {
    document.documentElement.style.setProperty(`--expert-${expert}`, colourOf(expert, experts));
  }
  defined = experts;
}

export const expertColour = (expert) => `var(--expert-${expert})`;
