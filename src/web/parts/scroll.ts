// Scrolling through more rows than a browser can lay out: only those that are seen exist, and beyond some millions of pixels
// the scroll bar stands for the whole, to scale.

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** More than this, browsers cannot lay out. */
const maxPixels = 8_000_000;

/** The part that is seen, and how to move it. */
export interface Scroll {
  readonly ref: RefObject<HTMLDivElement | null>;
  /** First row that is seen, and the one after the last. */
  readonly first: number;
  readonly end: number;
  /** Height of the whole, and where the first row is, in pixels. */
  readonly height: number;
  readonly offset: number;
  /** Rows that fit. */
  readonly page: number;
  readonly onScroll: () => void;
  /** Brings a row into view. */
  readonly reveal: (row: number) => void;
}

/** Of `count` rows of `rowHeight` pixels. */
export function useScroll(count: number, rowHeight: number): Scroll {
  const ref = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState(400);
  const [wantedTop, setTop] = useState(0);
  const lastTop = Math.max(0, count - size / rowHeight);
  const top = Math.min(wantedTop, lastTop);
  const scaled = count * rowHeight > maxPixels;
  const height = Math.min(count * rowHeight, maxPixels);
  const pixelsOf = (row: number): number => (scaled ? (row / lastTop) * (height - size) : row * rowHeight);
  const go = (row: number): void => {
    const to = Math.max(0, Math.min(lastTop, row));
    setTop(to);
    if (ref.current !== null) ref.current.scrollTop = pixelsOf(to);
  };
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setSize(element.clientHeight || 400));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = ref.current;
    if (element === null || !scaled) return;
    // A turn of the wheel is some rows, however many the bar stands for.
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault();
      go(top + event.deltaY / rowHeight);
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  });
  const first = Math.floor(top);
  const page = Math.max(1, Math.floor(size / rowHeight));
  return {
    ref,
    first,
    end: Math.min(count, first + page + 2),
    height,
    offset: pixelsOf(top) - (top - first) * rowHeight,
    page,
    onScroll: () => {
      const pixels = ref.current?.scrollTop ?? 0;
      if (Math.abs(pixels - pixelsOf(top)) < 1) return;
      setTop(scaled ? (pixels / (height - size)) * lastTop : pixels / rowHeight);
    },
    reveal: (row) => {
      if (row < top) go(row - 1);
      else if (row > top + page - 1) go(row - page + 2);
    },
  };
}
