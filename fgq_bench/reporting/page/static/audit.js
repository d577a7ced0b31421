// Filter the findings; what has none left is hidden, what has some is unfolded.
{
  const form = document.querySelector("#audit form");
  if (form) {
    const verdicts = [...document.querySelectorAll("#audit .verdict")];
    const printed = verdicts.map((verdict) => verdict.open);
    const total = document.querySelectorAll("#audit .finding").length;

    const hideOthers = (place, fits) => {
      const all = [...place.querySelectorAll(".finding")];
      for (const finding of all) finding.hidden = !fits(finding);
      const left = all.filter((finding) => !finding.hidden).length;
      place.hidden = left === 0;
      return [left, all.length];
    };

    const apply = () => {
      const [paper, verdict] = [form.elements.paper.value, form.elements.verdict.value];
      const text = form.elements.text.value.trim().toLowerCase();
      const filtered = Boolean(paper || verdict || text);
      let count = 0;
      verdicts.forEach((group, index) => {
        const fits = (check) => (finding) =>
          (!verdict || group.dataset.verdict === verdict) &&
          (!paper || finding.dataset.papers.split("; ").includes(paper)) &&
          `${check.firstElementChild.textContent} ${finding.textContent}`.toLowerCase().includes(text);
        const found = [...group.querySelectorAll(".check")].map((check) => hideOthers(check, fits(check)));
        const [left, all] = [0, 1].map((place) => found.reduce((sum, each) => sum + each[place], 0));
        group.hidden = left === 0;
        group.open = filtered || printed[index];
        group.querySelector("summary .note").textContent = left === all ? all : `${left} of ${all}`;
        count += left;
      });
      form.elements.count.textContent = filtered ? `${count} of ${total} findings` : `${total} findings`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
}
