// What moderators decide, in the words of this app: for those who decide and for those concerned.

/** What becomes of a clip: the act, and how a badge and a sentence say it afterwards. */
export const ACTIONS = {
  keep: { act: "Keep it", outcome: "Stays up", tone: "badge--good", told: "the clip stays up" },
  quarantine: { act: "Withhold it", outcome: "Withheld", tone: "badge--warn", told: "the clip is withheld" },
  remove: { act: "Remove it", outcome: "Removed", tone: "badge--bad", told: "the clip is removed" },
};
export const GROUNDS = [
  ["incompatible_with_terms", "Against the terms"],
  ["illegal_content", "Illegal content"],
];
/** What becomes of a decision after an appeal. */
export const OUTCOMES = [
  ["upheld", "The decision stands"],
  ["overturned", "Undo the decision"],
];
export const MOST_CHARACTERS = 5000;
