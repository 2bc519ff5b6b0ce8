// The page begins here: the state, the components, and what the server of the page has put into it.

import { render } from "preact";
import { Page } from "./page.tsx";
import { AppContext } from "./parts/use-app.ts";
import { currentAddress, startApp } from "./state/app.ts";
import { askVm, served } from "./state/served.ts";
import { startTheme } from "./state/theme.ts";

const root = document.getElementById("app");
if (root !== null) {
  startTheme();
  const app = startApp();
  const given = served();
  const refreshVm = async (): Promise<void> => {
    if (given?.vm === undefined) return;
    app.set({ vm: undefined });
    app.set({ vm: await askVm(given.vm) });
  };
  addEventListener("hashchange", () => {
    if (location.hash !== app.address()) app.goTo(currentAddress());
  });
  app.goTo(currentAddress());
  let later = 0;
  app.subscribe(() => {
    // Browsers allow only some changes a second.
    clearTimeout(later);
    later = setTimeout(() => {
      const { docs, wanted } = app.state();
      // While an address waits for its file, it stays.
      if (docs.length > 0 && wanted === undefined && location.hash !== app.address()) {
        history.replaceState(null, "", app.address());
      }
    }, 150);
  });
  render(
    <AppContext.Provider value={app}>
      <Page hasVm={given?.vm !== undefined} onRefreshVm={() => void refreshVm()} />
    </AppContext.Provider>,
    root,
  );
  if (given !== undefined && given.files.length > 0) {
    const { files, options, section, field } = given;
    const names = files.map(({ name }) => name);
    if (section !== undefined && location.hash === "") {
      app.set({ wanted: { files: names, view: "devices", section, field, at: undefined } });
    }
    void app.open(files, options);
  }
  if (given?.vm !== undefined) {
    if (given.files.length === 0) app.set({ view: "vm" });
    void refreshVm();
  }
}
