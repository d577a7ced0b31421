// Light, dark, or what the system says; remembered where the browser allows it.
{
  const button = document.getElementById("theme");
  const choices = ["auto", "light", "dark"];

  function show(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  }

  let theme = "auto";
  try {
    theme = choices.find((choice) => choice === localStorage.getItem("fgq-theme")) ?? "auto";
  } catch { /* storage is refused: nothing is remembered */ }
  show(theme);
  button.addEventListener("click", () => {
    theme = choices[(choices.indexOf(theme) + 1) % choices.length];
    show(theme);
    try {
      localStorage.setItem("fgq-theme", theme);
    } catch { /* as above */ }
  });
}
