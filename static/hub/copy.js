// <button data-copy> copies the <code> beside it, or the element of data-copy="id".

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.dataset.copy
    ? document.getElementById(button.dataset.copy)
    : button.closest(".hub-code, .hub-copy").querySelector("code");
  const label = button.querySelector("span") ?? button;
  const before = label.dataset.label ?? label.textContent;
  label.dataset.label = before;
  const copied = await copy(source);
  label.textContent = copied ? "Copied" : "Press Ctrl+C";
  document.dispatchEvent(
    new CustomEvent("hub:announce", { detail: label.textContent }),
  );
  window.setTimeout(() => {
    label.textContent = before;
  }, 2000);
});

// The clipboard is closed to plain http: then the text is selected instead.
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    window.getSelection().selectAllChildren(source);
    return false;
  }
}
