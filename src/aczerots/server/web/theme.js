(()=>{var e=localStorage.getItem("aczerots-theme"),t=matchMedia("(prefers-color-scheme: dark)").matches;document.documentElement.dataset.theme=e??(t?"dark":"light");})();
