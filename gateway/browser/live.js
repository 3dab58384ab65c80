// Keeps a page fresh. Without this script the page is as fresh as its last load.
(function () {
  "use strict";
  var print = document.querySelector("[data-print]");
  if (print) {
    print.hidden = false;
    print.addEventListener("click", function () { window.print(); });
  }
  var main = document.getElementById("main");
  var of = main && main.getAttribute("data-live");
  if (!of || !window.EventSource || !window.fetch) return;
  var busy = false, again = false;

  function editing() {
    var a = document.activeElement;
    return main.querySelector("input:checked, dialog[open]") !== null ||
      (a && main.contains(a) && /^(INPUT|SELECT|TEXTAREA)$/.test(a.tagName));
  }

  function refresh() {
    if (document.hidden || editing()) return;
    if (busy) { again = true; return; }
    busy = true;
    fetch(location.href, { headers: { "X-Live": "1" }, credentials: "same-origin" })
      .then(function (r) {
        if (r.status === 401) { location.reload(); throw new Error("signed out"); }
        return r.text();
      })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
        if (!fresh || editing()) return;
        var open = Array.prototype.map.call(main.querySelectorAll("details"), function (d) { return d.open; });
        var id = document.activeElement && document.activeElement.id;
        var now = fresh.querySelectorAll("img[data-fresh]");
        for (var i = 0; i < now.length; i++) now[i].src = now[i].getAttribute("src") + "?at=" + Date.now();
        main.replaceChildren.apply(main, Array.prototype.slice.call(fresh.childNodes));
        Array.prototype.forEach.call(main.querySelectorAll("details"), function (d, n) { if (open[n]) d.open = true; });
        if (id && document.getElementById(id)) document.getElementById(id).focus();
      })
      .catch(function () {})
      .then(function () { busy = false; if (again) { again = false; refresh(); } });
  }

  var source = new EventSource(of);
  source.addEventListener("changed", refresh);
  // Where no stream can be had, the page looks for itself now and then.
  source.addEventListener("error", function () {
    if (source.readyState === EventSource.CLOSED) setInterval(refresh, 20000);
  });
  document.addEventListener("visibilitychange", refresh);
})();
