// before anything is painted, so that the page never shows the other theme first
try {
  const theme = localStorage.getItem("schuss-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is closed to pages from disk in some browsers: the system's theme stays */ }
