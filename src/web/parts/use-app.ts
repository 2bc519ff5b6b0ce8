// The page's state in its components.

import { createContext } from "preact";
import { useContext, useEffect, useReducer } from "preact/hooks";
import type { App, AppState } from "../state/app.ts";

/** Where components find the page's state. */
export const AppContext = createContext<App | undefined>(undefined);

/** What changes the state. */
export function useApp(): App {
  const app = useContext(AppContext);
  if (app === undefined) throw new Error("a component outside of the page");
  return app;
}

/** The state; the component is drawn anew when it changes. */
export function useAppState(): AppState {
  const app = useApp();
  const [, draw] = useReducer((count: number, _: undefined) => count + 1, 0);
  useEffect(() => app.subscribe(() => draw(undefined)), [app]);
  return app.state();
}
