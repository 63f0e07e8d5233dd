// Dialogs. A form or an htmx element that asks first, and dialogs that a button opens.
//   <form data-confirm="Erase this dataset?" data-confirm-text="..." data-confirm-action="Erase">
//   <button hx-post="..." hx-confirm="Cancel this job?">
//   <button data-dialog-open="id">  <button data-dialog-close>

async function ask({ title, text = "", action = "Continue", danger = false }) {
  const dialog = document.getElementById("hub-confirm");
  dialog.querySelector("#hub-confirm-title").textContent = title;
  const body = dialog.querySelector("[data-confirm-text]");
  body.textContent = text;
  body.hidden = !text;
  const ok = dialog.querySelector("[data-confirm-ok]");
  ok.textContent = action;
  ok.classList.toggle("btn-danger", danger);
  ok.classList.toggle("btn-primary", !danger);
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => {
    dialog.addEventListener("close", done, { once: true });
  });
  return dialog.returnValue === "ok";
}

function questionOf(element) {
  const { confirm, confirmText, confirmAction, confirmDanger } = element.dataset;
  return {
    title: confirm,
    text: confirmText,
    action: confirmAction,
    danger: confirmDanger !== undefined,
  };
}

// In the capture phase: asked before any other listener takes the form as sent.
document.addEventListener(
  "submit",
  async (event) => {
    const form = event.target;
    const asking = event.submitter?.dataset.confirm ? event.submitter : form;
    if (!asking.dataset?.confirm || form.dataset.confirmed) {
      delete form.dataset.confirmed;
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!(await ask(questionOf(asking)))) return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(event.submitter);
  },
  true,
);

document.addEventListener("htmx:confirm", async (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  const element = event.detail.elt;
  const answer = await ask({
    ...questionOf(element),
    title: event.detail.question,
  });
  if (answer) event.detail.issueRequest(true);
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog-open]");
  if (opener) document.getElementById(opener.dataset.dialogOpen)?.showModal();
  if (event.target.closest("[data-dialog-close]")) {
    event.target.closest("dialog")?.close();
  }
  // A click on the backdrop is a click on the dialog itself, outside its box.
  if (event.target.matches("dialog.hub-dialog[open]")) {
    const box = event.target.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!inside) event.target.close("cancel");
  }
});
