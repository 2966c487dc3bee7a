// Niceties only: a click on a picture shows it larger, and the contents follow the reading. The page is whole without.
(() => {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", "Picture, enlarged");
  dialog.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  const enlarge = (pair) => {
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    const caption = pair.parentElement.querySelector("figcaption");
    dialog.replaceChildren(pair.cloneNode(true), ...(caption ? [caption.cloneNode(true)] : []), close);
    const inner = dialog.querySelector(".pair");
    inner.removeAttribute("tabindex");
    inner.removeAttribute("role");
    dialog.showModal();
  };
  for (const pair of document.querySelectorAll("figure > .pair")) {
    pair.tabIndex = 0;
    pair.setAttribute("role", "button");
    pair.setAttribute("aria-label", "Enlarge the picture");
    pair.addEventListener("click", () => enlarge(pair));
    pair.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        enlarge(pair);
      }
    });
  }
  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
})();
