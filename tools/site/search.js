// Search by plain text, in place of MkDocs's: names such as inet:dns:a and $lib.str.join are found as they are typed, and it
// works where pages are opened from a folder, as what is searched comes as a script (search/records.js).
(function () {
    "use strict";
    var RESULTS_MAX = 40;
    var AROUND = 90;

    // How well a section answers: 0 not at all. Every word has to be there; what is in the title counts most.
    function score(record, words, whole) {
        var sum = 0;
        for (var i = 0; i < words.length; i++) {
            var inTitle = record.title.indexOf(words[i]) >= 0;
            if (!inTitle && record.text.indexOf(words[i]) < 0) return 0;
            sum += inTitle ? 20 : 1;
        }
        if (record.title === whole) sum += 100;
        else if (record.title.indexOf(whole) === 0) sum += 30;
        if (record.text.indexOf(whole) >= 0) sum += 5;
        return record.place.indexOf("repository/") === 0 ? sum / 4 : sum;
    }

    function element(name, text, parent, className) {
        var made = document.createElement(name);
        made.textContent = text;
        if (className) made.className = className;
        parent.appendChild(made);
        return made;
    }

    function excerpt(record, words, parent) {
        var at = -1;
        for (var i = 0; i < words.length && at < 0; i++) at = record.text.indexOf(words[i]);
        var begin = Math.max(0, at - AROUND);
        element("p", (begin ? "… " : "") + record.shown.slice(begin, begin + 3 * AROUND) + " …", parent);
    }

    function show(query, records) {
        var target = document.getElementById("mkdocs-search-results");
        var whole = query.trim().toLowerCase();
        var words = whole.split(/\s+/).filter(Boolean);
        target.textContent = "";
        if (!words.length) return;
        var found = [];
        records.forEach(function (record) {
            var points = score(record, words, whole);
            if (points) found.push([points, record]);
        });
        found.sort(function (one, other) { return other[0] - one[0]; });
        element("p", found.length ? found.length + " found" : "No page has all of this.", target);
        found.slice(0, RESULTS_MAX).forEach(function (entry) {
            var record = entry[1];
            var article = element("article", "", target);
            var link = element("a", record.name, element("h3", "", article));
            link.href = base_url + "/" + record.place;
            element("p", record.page, article, "place");
            excerpt(record, words, article);
        });
    }

    // Called by search/records.js: [[place, title, text], ...], the first section of a page before its others.
    window.cellmeshSearch = function (rows) {
        var page = "";
        var records = rows.map(function (row) {
            if (row[0].indexOf("#") < 0) page = row[1];
            return {
                place: row[0], name: row[1], page: page, shown: row[2],
                title: row[1].toLowerCase(), text: row[2].toLowerCase()
            };
        });
        var input = document.getElementById("mkdocs-search-query");
        input.value = new URLSearchParams(window.location.search).get("q") || "";
        input.addEventListener("input", function () { show(input.value, records); });
        show(input.value, records);
    };

    if (document.getElementById("mkdocs-search-results")) {
        var script = document.createElement("script");
        script.src = base_url + "/search/records.js";
        document.body.appendChild(script);
    }
})();
