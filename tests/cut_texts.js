// Texts that reach beyond the page or beyond a box that cuts them, or that end in an ellipsis.
const width = document.documentElement.clientWidth, cut = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode, parent = text.parentElement;
  if (!text.textContent.trim() || parent.closest('style')) continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  const box = range.getBoundingClientRect();
  if (!box.width) continue;
  const out = box.left < 0 || box.right > width;
  const dots = parent.closest('figure') && text.textContent.includes('…');
  if (out || dots) cut.push(text.textContent.trim());
}
for (const element of document.querySelectorAll('body *')) {
  const style = getComputedStyle(element);
  const clips = style.overflowX == 'hidden' || style.textOverflow == 'ellipsis';
  if (clips && element.scrollWidth > element.clientWidth + 1) cut.push(element.className);
}
return cut;
