// How figures are written, everywhere on the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);

export const roughly = (number) => short.format(number);

export const rate = (number) => (number < 100 ? number.toFixed(1) : whole.format(number));

export const percent = (share) => (share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(100 * share)} %`);
