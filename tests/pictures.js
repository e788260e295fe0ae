// For each picture: its title, size, number of marks, and smallest text in pixels.
return [...document.querySelectorAll('figure:has(svg), .score-intervals')].map(figure => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  return {
    title: figure.querySelector('figcaption')?.firstChild.textContent ?? 'score intervals',
    width: box.width, height: box.height,
    marks: [...svg.querySelectorAll('.role-mark path, .role-mark line, .role-mark text')]
      .filter(mark => Object.values(mark.getBoundingClientRect().toJSON()).some(n => n)).length,
    text: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * scale)),
  };
});
