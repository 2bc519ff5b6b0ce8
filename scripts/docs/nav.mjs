// The site's table of contents: every page has a place here, once. Names of files in docs/, or of pages that are made.

/** @type {readonly { title: string, pages: readonly string[] }[]} */
export const sections = [
  { title: "Start", pages: ["README.md", "install.md", "tutorial.md", "glossary.md"] },
  {
    title: "How to",
    pages: [
      "how-to-systemd.md",
      "how-to-proxmox.md",
      "how-to-no-root.md",
      "how-to-fails.md",
      "how-to-watch.md",
      "fleet.md",
    ],
  },
  {
    title: "Reference",
    pages: [
      "commands.md",
      "preflight.md",
      "update.md",
      "ensure.md",
      "host.md",
      "inspect.md",
      "web.md",
      "check.md",
      "explain.md",
      "exit-codes.md",
      "formats.md",
    ],
  },
  { title: "Library", pages: ["library.md", "cpr.md", "vmstate.md", "migration-stream.md"] },
  {
    title: "Explanation",
    pages: ["cpr-explained.md", "state-machine.md", "comparison.md", "performance.md", "reliability.md", "security.md"],
  },
  { title: "Inside", pages: ["house.md", "lab.md", "decisions/README.md"] },
];
