// Fills the page.

drawHead();
drawSettings(byId("settings"));
drawCurves(byId("curves"));
drawShares(byId("shares"));
drawResults(byId("results"));
drawEvaluation(byId("evaluation"));
