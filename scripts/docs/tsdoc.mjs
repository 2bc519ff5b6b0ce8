// A docstring as Markdown.

import { DocNodeKind } from "@microsoft/tsdoc";

/**
 * What it is, its parameters, what it returns and throws; "" without a docstring.
 *
 * @param {any} item of API Extractor's model
 * @returns {string}
 */
export function docText(item) {
  const doc = item.tsdocComment;
  if (doc === undefined) return "";
  const parameters = doc.params.blocks.map(
    (/** @type {any} */ block) => `- \`${block.parameterName}\`: ${text(block.content)}`,
  );
  const returns = doc.returnsBlock === undefined ? [] : [`- returns ${text(doc.returnsBlock.content)}`];
  const others = doc.customBlocks.map((/** @type {any} */ block) => {
    const name = block.blockTag.tagName.slice(1);
    return `- ${name} ${text(block.content)}`;
  });
  const list = [...parameters, ...returns, ...others].join("\n");
  const remarks = doc.remarksBlock === undefined ? "" : `${text(doc.remarksBlock.content)}\n`;
  return `${text(doc.summarySection)}\n${remarks}${list === "" ? "" : `\n${list}\n`}`;
}

/**
 * @param {any} node
 * @returns {string}
 */
function text(node) {
  return write(node).trim();
}

/**
 * @param {any} node
 * @returns {string}
 */
function write(node) {
  switch (node.kind) {
    case DocNodeKind.PlainText:
      return node.text.replaceAll("<", "&lt;");
    case DocNodeKind.EscapedText:
      return node.decodedText.replaceAll("<", "&lt;");
    case DocNodeKind.ErrorText:
      return node.text.replaceAll("<", "&lt;");
    case DocNodeKind.SoftBreak:
      return " ";
    case DocNodeKind.CodeSpan:
      return `\`${node.code}\``;
    case DocNodeKind.FencedCode:
      return `\n\`\`\`${node.language} excerpt\n${node.code}\`\`\`\n`;
    case DocNodeKind.LinkTag:
      if (node.urlDestination !== undefined) return `[${node.linkText ?? node.urlDestination}](${node.urlDestination})`;
      return seeAlso(reference(node.codeDestination), node.linkText);
    case DocNodeKind.Paragraph:
      return `${node.nodes.map(write).join("").replace(/ +/g, " ")}\n\n`;
    default:
      return node.getChildNodes().map(write).join("");
  }
}

/**
 * A link to an export, whose place only the whole reference knows: `linked` puts it in.
 *
 * @param {string} name such as "Qmp" or "Qmp.execute"
 * @param {string} [shown]
 */
export function seeAlso(name, shown = name) {
  return `[\`${shown}\`](see:${name.split(".")[0]})`;
}

/**
 * `markdown` with its links to exports; a name that is no export stays without one.
 *
 * @param {string} markdown
 * @param {(name: string) => string | undefined} placeOf
 */
export function linked(markdown, placeOf) {
  return markdown.replaceAll(/\[(`[^`]+`)\]\(see:([\w$]*)\)/g, (_, shown, name) => {
    const place = placeOf(name);
    return place === undefined ? shown : `[${shown}](${place})`;
  });
}

/** @param {any} destination */
function reference(destination) {
  return destination.memberReferences
    .map((/** @type {any} */ each) => each.memberIdentifier?.identifier ?? "")
    .join(".");
}
